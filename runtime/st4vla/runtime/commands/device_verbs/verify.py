"""`st4vla device verify`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from st4vla.contracts.device_status import SLOT_NAMES
from st4vla.contracts.errors import St4vlaError
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.catalogue import choose_backend
from st4vla.runtime.flashing.config import read_config
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.slots import read_slot, verify_slot
from st4vla.runtime.flashing.state import read_state


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""
    del parser


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Check every byte of both slots."""
    layout = Layout(options.root)
    config, state = read_config(layout.config), read_state(layout.state)
    backend = choose_backend(config.serve.backend)
    fingerprint = this_device(config.root).fingerprint(backend)
    found: dict[str, str] = {}
    ok = True
    for name in SLOT_NAMES:
        try:
            record = read_slot(layout, name)
            if record is None:
                found[name] = "empty"
            else:
                verify_slot(layout, name, fingerprint)
                found[name] = f"whole: {record.bundle_name} ({record.bundle_digest[:12]}), counter {record.counter}"
        except St4vlaError as error:
            found[name], ok = str(error), False
        print(f"slot {name}{' (active)' * (name == state.active)}: {found[name]}")
    return {"slots": found, "active": state.active, "ok": ok}
