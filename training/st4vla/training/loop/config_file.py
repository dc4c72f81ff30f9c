"""A run's configuration: a TOML file, with single values replaced on the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from st4vla.contracts.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

C = TypeVar("C", bound=msgspec.Struct)


def read_config(path: Path, overrides: Sequence[str], kind: type[C]) -> C:
    """Return a configuration.

    Args:
        path: A TOML file.
        overrides: ``key=value`` each, the key a path of names as in ``loop.steps``, the value as TOML writes it.
        kind: A frozen struct that forbids unknown fields.

    Raises:
        UsageError: The file cannot be read, is not TOML, or does not fit; an override is no such pair.
    """
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UsageError(msg) from error
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is not TOML: {error}"
        raise UsageError(msg) from error
    for override in overrides:
        _apply(values, override)
    try:
        return msgspec.convert(values, kind, dec_hook=_decode)
    except (msgspec.ValidationError, ValueError) as error:
        msg = f"{path}: {error}"
        raise UsageError(msg) from error


def _decode(kind: type[Any], value: Any) -> Any:
    """Read what TOML has no type for."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    msg = f"{value!r} is no {kind.__name__}"
    raise ValueError(msg)


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    try:
        value = tomllib.loads(f"value = {text}")["value"] if equals else None
    except tomllib.TOMLDecodeError:
        # A bare word is a string: quotes would be the shell's.
        value = text
    names = key.strip().split(".")
    if not equals or not all(names):
        msg = f"--set {override}: write key=value, as in loop.steps=1000"
        raise UsageError(msg)
    for name in names[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            msg = f"--set {override}: {name!r} is not a table of the configuration"
            raise UsageError(msg)
    values[names[-1]] = value
