"""Processes that lose their power at one instant, as those of a device do when somebody pulls its plug."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from st4vla.contracts.errors import MissingExtraError

#: The whole of them in a namespace that is killed with its first process; it ends too when whoever started it ends.
NAMESPACE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
#: Somebody who is not root has the right to do so as the root of a user namespace, where the kernel allows them.
_AS_USER = ("--user", "--map-root-user")
END_TIMEOUT_S = 20.0


class Powered:
    """A first process and all that it starts, in process and mount namespaces of their own.

    Nothing of them is left when the context ends, when the plug is pulled, or when the process that started them is
    killed itself; to the kernel, that is the thread that started them. What is mounted in there goes with them.

    Args:
        command: The first process, which gets the number 1.
        log: File that what they say is added to.
        environment: In the place of this process's own.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        needed = [name for name in ("setpriv", "unshare") if shutil.which(name) is None]
        if needed:
            msg = f"{' and '.join(needed)} of util-linux are not installed; a stand-in lives in namespaces of its own"
            raise MissingExtraError(msg)
        user = () if os.geteuid() == 0 else _AS_USER
        with log.open("ab") as stream:
            self._process = subprocess.Popen(  # noqa: S603
                [*NAMESPACE, *user, "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def on(self) -> bool:
        """Whether the first process runs."""
        return self._process.poll() is None

    def cut(self) -> None:
        """Kill all of them at one instant, and return when the last one is gone."""
        while self.on:
            first = self._first()
            if first is not None:
                # The kernel ends all others of the namespace before this one is gone.
                with suppress(ProcessLookupError):
                    os.kill(first, signal.SIGKILL)
                break
            time.sleep(0.001)
        try:
            self._process.wait(END_TIMEOUT_S)
        finally:
            self._process.kill()
            self._process.wait()

    def processes(self) -> list[int]:
        """Return the numbers that this machine knows all of them by."""
        first = self._first()
        found = [] if first is None else [first]
        for process in found:
            found += _children(process)
        return found

    def seen_inside(self, path: Path) -> Path:
        """Return where an absolute path leads that is meant as they see it, with what is mounted in there."""
        return Path(f"/proc/{self._first()}/root") / path.relative_to("/")

    def _first(self) -> int | None:
        """Return the number of the first process; None until there is one."""
        return next(iter(_children(self._process.pid)), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()


def _children(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text().split())
    return found
