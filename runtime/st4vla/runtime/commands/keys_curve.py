"""`st4vla keys make`, `allow`, `revoke`: CURVE keys, and whom a server lets in."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from st4vla.contracts.errors import KeyFileError, StorageError, UsageError
from st4vla.runtime.curve import CLIENTS_FOLDER
from st4vla.runtime.key_files import (
    PUBLIC_SUFFIX,
    SECRET_SUFFIX,
    fingerprint,
    make_pair,
    read_public,
    write_pair,
    write_public,
)
from st4vla.runtime.key_storage import require_name

if TYPE_CHECKING:
    from st4vla.runtime.commands.keys import Verbs


def configure(verbs: Verbs) -> None:
    """Add the verbs of CURVE keys."""
    make = verbs.add_parser("make", help="make a pair of keys for connections, for a server or a client")
    make.set_defaults(run_verb=_make)
    make.add_argument("name", help="whose keys they are, such as `server` or `cell7`")
    make.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where NAME.key and NAME.key_secret go")
    make.add_argument("--force", action="store_true", help="put them in the place of keys that are there")
    allow = verbs.add_parser("allow", help="let a client in, by its public key")
    allow.set_defaults(run_verb=_allow)
    allow.add_argument("key", type=Path, help="the client's public key, NAME.key")
    allow.add_argument("--server", type=Path, required=True, metavar="FOLDER", help="the server's folder of keys")
    allow.add_argument("--name", help="what to call the client (default: as its file is called)")
    allow.add_argument("--force", action="store_true", help="put it in the place of another key of that name")
    revoke = verbs.add_parser("revoke", help="let a client in no more, and end its connections")
    revoke.set_defaults(run_verb=_revoke)
    revoke.add_argument("name", help="what the client is called: NAME of FOLDER/clients/NAME.key")
    revoke.add_argument("--server", type=Path, required=True, metavar="FOLDER", help="the server's folder of keys")


def _make(options: argparse.Namespace) -> Mapping[str, Any]:
    pair = make_pair()
    public, secret = write_pair(options.out, options.name, pair, force=options.force)
    print(f"{secret}: secret, stays on this machine")
    print(f"{public}: public, for the other side")
    print(f"fingerprint {fingerprint(pair.public)}")
    return {"public": str(public), "secret": str(secret), "fingerprint": fingerprint(pair.public)}


def _allow(options: argparse.Namespace) -> Mapping[str, Any]:
    public = read_public(options.key)
    name = options.key.stem if options.name is None else options.name
    require_name(name)
    _require_server(options.server)
    path = options.server / CLIENTS_FOLDER / f"{name}{PUBLIC_SUFFIX}"
    others = [file for file in _files_of(options.server, public) if file != path]
    if others:
        msg = f"this key is allowed already, as {others[0].stem!r}; revoke that first to give it another name"
        raise UsageError(msg)
    if path.exists() and not options.force and _public_or_none(path) != public:
        msg = f"{path} holds another key; choose another name with --name, or put this one in its place with --force"
        raise UsageError(msg)
    write_public(path, name, public)
    print(f"{name} is let in: {fingerprint(public)}")
    return {"name": name, "fingerprint": fingerprint(public), "file": str(path)}


def _revoke(options: argparse.Namespace) -> Mapping[str, Any]:
    require_name(options.name)
    _require_server(options.server)
    name = options.name.removesuffix(PUBLIC_SUFFIX)
    folder = options.server / CLIENTS_FOLDER
    path = folder / f"{name}{PUBLIC_SUFFIX}"
    if not path.exists() and not path.is_symlink():
        allowed = ", ".join(sorted(file.stem for file in folder.glob(f"*{PUBLIC_SUFFIX}"))) or "nobody"
        msg = f"no client is called {name!r}; let in are {allowed}"
        raise UsageError(msg)
    public = _public_or_none(path)
    # Copies of the key under other names would let it in still.
    files = {path, *(_files_of(options.server, public) if public else ())}
    for file in sorted(files):
        try:
            file.unlink()
        except OSError as error:
            msg = f"{file} cannot be removed, so that its key is let in still: {error.strerror}"
            raise StorageError(msg) from error
        print(f"{file} removed")
    print(f"{name} is let in no more; a server that runs ends its connections within a second")
    return {"name": name, "removed": sorted(map(str, files)), "fingerprint": fingerprint(public) if public else None}


def _require_server(folder: Path) -> None:
    if not any(folder.glob(f"*{SECRET_SUFFIX}")):
        msg = f"{folder} holds no server's key; make one with `st4vla keys make server --out {folder}`"
        raise KeyFileError(msg)


def _files_of(server: Path, public: str) -> list[Path]:
    found = sorted((server / CLIENTS_FOLDER).glob(f"*{PUBLIC_SUFFIX}"))
    return [file for file in found if _public_or_none(file) == public]


def _public_or_none(path: Path) -> str | None:
    try:
        return read_public(path)
    except KeyFileError:
        return None
