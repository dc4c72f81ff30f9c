"""`st4vla device trust FILE`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.trusting import read_list, take_trust
from st4vla.runtime.signing import read_trust


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "file", type=Path, help="the newer list, signed by a key that the device's list trusts for that"
    )


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Take the list."""
    layout = Layout(options.root)
    before = read_trust(layout.trust)
    trust = take_trust(layout, read_list(options.file))
    print(
        f"version {trust.version} is trusted" + (" already" if trust == before else f", in place of {before.version}")
    )
    return {"trust_version": trust.version}
