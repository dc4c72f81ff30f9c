"""`st4vla keys show`: what lies in key files, and which of them will not do."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from st4vla.contracts.command_line import table
from st4vla.contracts.errors import KeyFileError
from st4vla.runtime import key_files
from st4vla.runtime.commands.keys_trust import show_trust
from st4vla.runtime.signing.public_keys import PUBLIC_SUFFIX, read_public_key
from st4vla.runtime.signing.secret_keys import SECRET_SUFFIX, inspect_secret_key

if TYPE_CHECKING:
    from st4vla.runtime.commands.keys import Verbs

#: In the order in which they are shown.
_SUFFIXES = (key_files.PUBLIC_SUFFIX, key_files.SECRET_SUFFIX, PUBLIC_SUFFIX, SECRET_SUFFIX)


def configure(verbs: Verbs) -> None:
    """Add the verb."""
    show = verbs.add_parser("show", help="show public keys and their fingerprints")
    show.set_defaults(run_verb=_show)
    show.add_argument("path", type=Path, help="a key file, a trust list, or a folder, which is searched to its end")


def _show(options: argparse.Namespace) -> Mapping[str, Any]:
    path: Path = options.path
    if path.suffix == ".json" and path.is_file():
        return show_trust(path)
    files = [path]
    if path.is_dir():
        files = [found for suffix in _SUFFIXES for found in sorted(path.rglob(f"*{suffix}"))]
        if not files:
            msg = (
                f"{path} holds no keys; make some with `st4vla keys make NAME --out {path}`, or keys that sign with "
                f"`st4vla keys signing NAME --out {path}`"
            )
            raise KeyFileError(msg)
    curve: list[dict[str, Any]] = []
    signing: list[dict[str, Any]] = []
    notes: list[str] = []
    for file in files:
        of_signatures = file.suffix == ".pem"
        try:
            found, mode = _signing_key(file) if of_signatures else _curve_key(file)
        except KeyFileError as error:
            notes.append(str(error))
            continue
        (signing if of_signatures else curve).append({"path": str(file), **found})
        if mode is not None and mode & 0o077:
            notes.append(f"{file} can be read by others and will not be used; close it with `chmod 600 {file}`")
    _print(curve, ("path", "kind", "fingerprint", "public_key"))
    _print(signing, ("path", "kind", "roles", "key_id"))
    for note in notes:
        print(note)
    return {"keys": [*curve, *signing], "notes": notes, "ok": not notes}


def _curve_key(path: Path) -> tuple[dict[str, Any], int | None]:
    public, mode = key_files.inspect(path)
    kind = "public" if mode is None else "secret"
    return {"kind": kind, "fingerprint": key_files.fingerprint(public), "public_key": public}, mode


def _signing_key(path: Path) -> tuple[dict[str, Any], int | None]:
    if not path.name.endswith(SECRET_SUFFIX):
        key = read_public_key(path)
        return {"kind": "signs, public", "roles": list(key.roles), "key_id": key.key_id}, None
    keyid, mode = inspect_secret_key(path)
    kind = "signs, secret" if keyid else "signs, secret, encrypted"
    return {"kind": kind, "roles": [], "key_id": keyid}, mode


def _print(found: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if found:
        header = ["file", *(column.replace("_", " ") for column in columns[1:])]
        print(table([[_cell(one[column]) for column in columns] for one in found], header))


def _cell(value: list[str] | str | None) -> str:
    return ", ".join(value) if isinstance(value, list) else value or ""
