"""`st4vla device run`."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from collections.abc import Mapping
from typing import Any

from st4vla.runtime.flashing.installing import Installer

from st4vla.runtime.flashing.config import read_config
from st4vla.runtime.flashing.control import Control
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.locking import locked
from st4vla.runtime.flashing.offers import Offers
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.status import device_status
from st4vla.runtime.flashing.supervising import TICK_S, Supervisor
from st4vla.runtime.flashing.watchdog import Watchdog


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""
    del parser


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Supervise a device until SIGINT or SIGTERM."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    layout = Layout(options.root)
    config = read_config(layout.config)
    stop = threading.Event()
    with locked(layout.supervisor_lock, "supervises this device"):
        installer = Installer(layout, config, Record(layout.record))
        supervisor = Supervisor(layout, config, installer, Offers(layout))

        def end(*_: object) -> None:
            stop.set()
            supervisor.wake.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)

        def status() -> Any:
            server, flashing, trial = supervisor.statuses()
            return device_status(layout, config, server=server, flashing=flashing, trial=trial)

        control = Control(layout, supervisor, status)
        supervisor.boot()
        control.start()
        print(f"supervising {layout.root}", flush=True)
        with Watchdog() as watchdog:
            while not stop.is_set():
                supervisor.wake.wait(TICK_S)
                supervisor.wake.clear()
                supervisor.step()
                watchdog.beat(supervisor.said)
        control.close()
        supervisor.shut_down()
    return {"root": str(layout.root)}
