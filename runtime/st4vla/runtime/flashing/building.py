"""Build in a process of its own: it comes last, its memory is capped, and what becomes of it is one sentence."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from st4vla.contracts import errors
from st4vla.contracts.errors import CancelledError, EngineError, PreflightError, St4vlaError
from st4vla.runtime.flashing.build_job import BuildAnswer, BuildFailure, BuildJob, BuildText, Built

#: How often it is asked whether the build is still wanted.
POLL_S = 0.1
#: So much of what an engine library printed goes into a message.
TAIL_CHARACTERS = 300
#: What libraries say, in small letters, when they are given no memory, or none to be loaded into.
NO_MEMORY = (
    "bad_alloc",
    "memoryerror",
    "memory allocation",
    "out of memory",
    "failed to allocate",
    "cannot allocate memory",
    "failed to map segment",
)
_MIB = 1 << 20
_decoder: msgspec.json.Decoder[BuildAnswer] = msgspec.json.Decoder(BuildAnswer)


def run_build(
    job: BuildJob, *, cache: Path, timeout_s: float, say: Callable[[BuildText], None], cancelled: Callable[[], bool]
) -> Built:
    """Have a job done by a process of its own, and wait for it.

    Args:
        job: What to do.
        cache: Folder in which engine libraries may keep what they measured.
        timeout_s: After so long it is ended.
        say: Called with how far it is.
        cancelled: Says whether it is still wanted.

    Raises:
        St4vlaError: What the process could not do, as it said.
        PreflightError: Its memory did not suffice.
        EngineError: It ended without a word, or took too long.
        CancelledError: It is no longer wanted.
    """
    receiving, sending = os.pipe()
    with os.fdopen(receiving, "rb", buffering=0) as answers, tempfile.TemporaryFile() as printed:
        try:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "st4vla.runtime.flashing.build_child", str(sending), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=printed,
                pass_fds=(sending,),
                # A signal that somebody sends to the supervisor's group is not for it.
                start_new_session=True,
                env=_environment(cache),
            )
        finally:
            os.close(sending)
        try:
            _ask(process, job)
            answer = _listen(answers, job, time.monotonic() + timeout_s, say, cancelled)
            if answer is None:
                raise _death(_status(process.pid), job, _tail(printed))
            return answer
        finally:
            # Also what it may have started.
            _kill_group(process.pid)
            process.wait()


def _ask(process: subprocess.Popen[bytes], job: BuildJob) -> None:
    if process.stdin is not None:
        try:
            with process.stdin as stream:
                stream.write(msgspec.json.encode(job))
        except BrokenPipeError:
            # It has ended already; what it said, or did not, is seen to.
            return


def _listen(
    answers: IO[bytes], job: BuildJob, deadline: float, say: Callable[[BuildText], None], cancelled: Callable[[], bool]
) -> Built | None:
    """Return what it has done; None when it ended without saying so."""
    pending = b""
    while True:
        if cancelled():
            msg = f"cancelled during {job.action}; the policy that serves was not touched"
            raise CancelledError(msg)
        if time.monotonic() > deadline:
            msg = f"{job.action} took longer than build.timeout_s in device.json allows; it was ended"
            raise EngineError(msg)
        if not select.select([answers], [], [], POLL_S)[0]:
            continue
        block = os.read(answers.fileno(), 1 << 16)
        if not block:
            return None
        *lines, pending = (pending + block).split(b"\n")
        for answer in map(_decoder.decode, lines):
            if isinstance(answer, BuildText):
                say(answer)
            elif isinstance(answer, BuildFailure):
                raise _error(answer, job)
            else:
                return answer


def _error(failure: BuildFailure, job: BuildJob) -> St4vlaError:
    """Return the error that a process met, as one of ours."""
    kind = getattr(errors, failure.error, None)
    if failure.error == MemoryError.__name__ or _lacks_memory(failure.message):
        return _too_little_memory(job, failure.message)
    if isinstance(kind, type) and issubclass(kind, St4vlaError):
        return kind(failure.message)
    return EngineError(f"{job.action} failed: {failure.message}")


def _death(status: int, job: BuildJob, printed: str) -> St4vlaError:
    """Return what to say of a process that ended without a word."""
    said = f"; the last that it printed: {printed}" if printed else ""
    # Without another reason, SIGKILL is the kernel's, which had no memory for all.
    if _lacks_memory(printed) or status == -signal.SIGKILL:
        return _too_little_memory(job, f"the process ended with status {status}{said}")
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    return EngineError(f"{job.action} ended with {how} before it was done{said}; `st4vla device log` has the steps")


def _too_little_memory(job: BuildJob, detail: str) -> PreflightError:
    had = "all" if job.memory_bytes is None else f"{job.memory_bytes / _MIB:.0f} MiB of"
    return PreflightError(
        f"{job.action} had {had} memory and needs more{f' ({detail})' * bool(detail)}: "
        "end other programs, raise build.memory_bytes in device.json, or flash a smaller bundle"
    )


def _lacks_memory(said: str) -> bool:
    return any(words in said.lower() for words in NO_MEMORY)


def _status(process: int) -> int:
    """Wait for a process and return its exit status, or minus a signal. Its id stays taken."""
    ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    if ended is None:
        return 0
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _tail(printed: IO[bytes]) -> str:
    size = printed.seek(0, os.SEEK_END)
    printed.seek(max(0, size - TAIL_CHARACTERS))
    return " ".join(printed.read().decode(errors="replace").split())


def _environment(cache: Path) -> dict[str, str]:
    """Return the environment of a build: one thread for numpy's libraries, and a cache below the device's root."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **one, "XDG_CACHE_HOME": str(cache)}


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
