"""`st4vla device init`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.errors import StorageError, UsageError
from st4vla.runtime.flashing.durable import make_folder
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.trusting import read_list, take_trust


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "--trust", type=Path, required=True, metavar="FILE", help="the first list of keys that this device trusts"
    )


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Make the device's folder."""
    layout = Layout(options.root)
    if layout.trust.exists():
        msg = f"{layout.trust} is there already; `st4vla device trust FILE` takes a newer list"
        raise UsageError(msg)
    envelope = read_list(options.trust)
    try:
        make_folder(layout.root)
    except OSError as error:
        msg = f"{layout.root} cannot be made: {error.strerror}; choose another --root, or become root"
        raise StorageError(msg) from error
    trust = take_trust(layout, envelope)
    names = sorted(key.name for key in trust.keys.values())
    print(f"{layout.root} takes bundles that these keys have signed: {', '.join(names)}")
    return {"root": str(layout.root), "trust_version": trust.version}
