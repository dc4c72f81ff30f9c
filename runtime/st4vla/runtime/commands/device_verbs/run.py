"""`st4vla device run`."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from collections.abc import Mapping
from typing import Any

from st4vla.contracts.device_status import DeviceStatus
from st4vla.runtime.flashing.config import read_config
from st4vla.runtime.flashing.control import Control
from st4vla.runtime.flashing.installing import Installer
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.locking import locked
from st4vla.runtime.flashing.offers import Offers
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.status import device_status
from st4vla.runtime.flashing.supervising import TICK_S, Supervisor
from st4vla.runtime.flashing.watchdog import Watchdog

LOG = logging.getLogger(__name__)
AFTER_FAILURE_S = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""
    del parser


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Supervise a device until SIGINT or SIGTERM."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    layout = Layout(options.root.absolute())
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

        def status() -> DeviceStatus:
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
                try:
                    supervisor.step()
                except Exception:
                    # A mistake of ours must not take the policy from a robot. When it goes on, systemd's watchdog
                    # starts the supervisor again.
                    LOG.exception("the supervisor could not do what is due")
                    stop.wait(AFTER_FAILURE_S)
                else:
                    watchdog.beat(supervisor.said)
        control.close()
        supervisor.shut_down()
    return {"root": str(layout.root)}
