"""What is asked of a process that builds, and what it answers, a JSON object a line."""

from __future__ import annotations

from typing import Literal

import msgspec

#: Compile and check all graphs; load all engines as a server does; or measure how long they take.
Action = Literal["compile", "warm_up", "measure"]


class BuildJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing to do.

    Attributes:
        action: What.
        bundle: Folder of the bundle.
        engines: Folder of its engines.
        backend: Engine library.
        system_root: Where the machine's file system begins.
        nice: Niceness, see `come_last`; None to come as others do.
        memory_bytes: Most memory that it may have, or None.
        one_by_one: Engines are loaded one after the other, since there is no memory for all.
        reuse_bundle: Folder of another bundle, whose engines may be there already.
        reuse_engines: Folder of those.
    """

    action: Action
    bundle: str
    engines: str
    backend: str
    system_root: str
    nice: int | None
    memory_bytes: int | None
    reuse_bundle: str
    reuse_engines: str
    one_by_one: bool = False


class Built(msgspec.Struct, frozen=True, tag="built"):
    """It is done.

    Attributes:
        latency_ms: Median of each engine, if that was asked for.
    """

    latency_ms: dict[str, float] = {}


class BuildText(msgspec.Struct, frozen=True, tag="text"):
    """How far it is, in words; `passing` ones are not worth keeping."""

    text: str
    passing: bool = False


class BuildFailure(msgspec.Struct, frozen=True, tag="failure"):
    """It cannot be done: the class of the error, and its sentence."""

    error: str
    message: str


BuildAnswer = Built | BuildText | BuildFailure
