"""`st4vla device install FOLDER`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import show_progress
from st4vla.contracts.flash_messages import Install
from st4vla.contracts.manifests import BUNDLE_MANIFEST
from st4vla.runtime.commands.device_verbs.following import follow
from st4vla.runtime.flashing.config import read_config
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.local import bring, offer_folder
from st4vla.runtime.flashing.message_stream import connect


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("folder", type=Path, help=f"a signed bundle: the folder of its {BUNDLE_MANIFEST}")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Install a bundle from a folder of this machine, such as a stick, as if it had come over the network."""
    layout = Layout(options.root)
    # Without a supervisor nothing of it is copied.
    connect(layout.control).close()
    if options.dry_run:
        offered = offer_folder(layout, options.folder)
    else:
        offered = bring(layout, read_config(layout.config), options.folder, show_progress)
    return follow(layout, Install(offered.digest, dry_run=options.dry_run))
