"""`st4vla keys trust`: lists of the keys whose signatures devices trust."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from st4vla.contracts.command_line import table
from st4vla.contracts.release import TrustList
from st4vla.runtime.key_storage import PUBLIC_MODE, require_free, write_key_file
from st4vla.runtime.signing.public_keys import ROLES, PublicKey, read_public_key
from st4vla.runtime.signing.secret_keys import read_secret_key
from st4vla.runtime.signing.trust import read_trust
from st4vla.runtime.signing.trust_changes import add_key, find_key, new_trust, revoke_key, sign_trust

if TYPE_CHECKING:
    from st4vla.runtime.commands.keys import Verbs


def configure(verbs: Verbs) -> None:
    """Add the verb and those below it."""
    trust = verbs.add_parser("trust", help="make and change the list of keys whose signatures devices trust")
    below = trust.add_subparsers(dest="trust_verb", required=True)
    new = _verb(below, "new", _new, "make a first list, which is brought to devices by hand")
    new.add_argument("--key", type=Path, action="append", required=True, metavar="FILE", help="a public key to trust")
    new.add_argument("--force", action="store_true", help="put it in the place of a file that is there")
    add = _verb(below, "add", _add, "trust another key")
    add.add_argument("key", type=Path, help="its public file, NAME.pub.pem")
    rotate = _verb(below, "rotate", _rotate, "trust a new key for what an old one is trusted for, beside it")
    rotate.add_argument("old", help="name of the key that will be revoked later")
    rotate.add_argument("key", type=Path, help="public file of the one that follows it")
    for parser in (new, add):
        parser.add_argument(
            "--role", action="append", choices=ROLES, help="what to trust it for (default: its file says)"
        )
    for parser in (add, rotate):
        parser.add_argument("--name", help="what to call it on the list (default: as its file says)")
    revoke = _verb(below, "revoke", _revoke, "trust a key no more, for good")
    revoke.add_argument("name", help="what it is called on the list, or the beginning of its id")
    revoke.add_argument("--why", required=True, help="what to tell whoever still uses it")
    for parser in (new, add, rotate, revoke):
        parser.add_argument(
            "--sign-with",
            type=Path,
            action="append",
            required=True,
            metavar="FILE",
            help="secret key that the list before trusts for lists; may be given several times",
        )
    for parser in (add, rotate, revoke):
        parser.add_argument("--out", type=Path, metavar="FILE", help="where the new list goes (default: over the old)")
    _verb(below, "show", lambda options: show_trust(options.list), "show a list")


def show_trust(path: Path) -> Mapping[str, Any]:
    """Print a list, and return what is on it.

    Raises:
        KeyFileError, SignatureError: It is not there, or not right.
    """
    trust = read_trust(path)
    print(f"{path}: version {trust.version}")
    rows = [(key.name, ", ".join(key.roles), keyid, "") for keyid, key in trust.keys.items()]
    rows += [(key.name, "revoked", keyid, key.why) for keyid, key in trust.revoked.items()]
    print(table(rows, ("key", "may sign", "key id", "why")))
    return _answer(path, trust)


def _new(options: argparse.Namespace) -> Mapping[str, Any]:
    require_free((options.list,), force=options.force)
    keys = [_key(path) for path in options.key]
    trust = new_trust([(key, _roles(options, key)) for key in keys])
    return _write(options, options.list, None, trust)


def _add(options: argparse.Namespace) -> Mapping[str, Any]:
    before = read_trust(options.list)
    key = _key(options.key, options.name)
    return _write(options, options.out, before, add_key(before, key, _roles(options, key)))


def _rotate(options: argparse.Namespace) -> Mapping[str, Any]:
    before = read_trust(options.list)
    old = before.keys[find_key(before, options.old)]
    key = _key(options.key, options.name)
    answer = _write(options, options.out, before, add_key(before, key, old.roles))
    print(
        f"both count now; sign with both until every device has this list, then: st4vla keys trust revoke "
        f"{answer['list']} {old.name} --why TEXT --sign-with FILE"
    )
    return answer


def _revoke(options: argparse.Namespace) -> Mapping[str, Any]:
    before = read_trust(options.list)
    return _write(options, options.out, before, revoke_key(before, options.name, options.why))


def _write(
    options: argparse.Namespace, path: Path | None, before: TrustList | None, trust: TrustList
) -> Mapping[str, Any]:
    target: Path = path or options.list
    keys = [read_secret_key(secret) for secret in options.sign_with]
    write_key_file(target, sign_trust(trust, before, keys), PUBLIC_MODE)
    print(f"{target}: version {trust.version}, {len(trust.keys)} trusted, {len(trust.revoked)} revoked")
    return _answer(target, trust)


def _answer(path: Path, trust: TrustList) -> dict[str, Any]:
    return {
        "list": str(path),
        "version": trust.version,
        "keys": {keyid: {"name": key.name, "roles": list(key.roles)} for keyid, key in trust.keys.items()},
        "revoked": {keyid: {"name": key.name, "why": key.why} for keyid, key in trust.revoked.items()},
    }


def _key(path: Path, name: str | None = None) -> PublicKey:
    key = read_public_key(path)
    return key if name is None else replace(key, name=name)


def _roles(options: argparse.Namespace, key: PublicKey) -> tuple[Any, ...]:
    return tuple(role for role in ROLES if role in options.role) if options.role else key.roles


def _verb(
    verbs: Verbs, name: str, run: Callable[[argparse.Namespace], Mapping[str, Any]], text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text)
    parser.set_defaults(run_verb=run)
    parser.add_argument("list", type=Path, help="file of the list, such as trust.json")
    return parser
