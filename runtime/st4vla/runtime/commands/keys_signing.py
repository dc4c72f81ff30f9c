"""`st4vla keys signing`: keys that sign releases and trust lists."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from st4vla.runtime.signing.public_keys import ROLES
from st4vla.runtime.signing.secret_keys import choose_passphrase, make_signing_key

if TYPE_CHECKING:
    from st4vla.runtime.commands.keys import Verbs


def configure(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser("signing", help="make a key that signs releases or trust lists")
    parser.set_defaults(run_verb=_make)
    parser.add_argument("name", help="what to call it, such as `release-2026`")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where NAME.pub.pem and NAME.secret.pem go"
    )
    parser.add_argument(
        "--role",
        action="append",
        choices=ROLES,
        help="what it is meant to sign: releases of bundles (default), or trust lists; may be given twice",
    )
    parser.add_argument(
        "--passphrase",
        action="store_true",
        help="encrypt the secret; asks for a passphrase, or takes it from ST4VLA_KEY_PASSPHRASE",
    )
    parser.add_argument("--force", action="store_true", help="put it in the place of a key that is there")


def _make(options: argparse.Namespace) -> Mapping[str, Any]:
    roles = tuple(role for role in ROLES if role in (options.role or ["release"]))
    passphrase = choose_passphrase(options.name) if options.passphrase else None
    key, public, secret = make_signing_key(options.out, options.name, roles, passphrase=passphrase, force=options.force)
    print(f"{secret}: secret, {'encrypted' if passphrase else 'not encrypted'}, stays where releases are signed")
    print(f"{public}: public, for trust lists")
    print(f"key id {key.key_id}")
    return {"public": str(public), "secret": str(secret), "key_id": key.key_id, "roles": list(roles)}
