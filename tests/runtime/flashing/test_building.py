import ctypes
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from st4vla.contracts.errors import (
    CancelledError,
    EngineError,
    ManifestError,
    PreflightError,
)
from st4vla.contracts.manifests import ENGINES_MANIFEST, Bundle
from st4vla.runtime.flashing.build_job import BuildJob, BuildText, Built
from st4vla.runtime.flashing.building import run_build
from st4vla.runtime.flashing.lowering import _IOPRIO_SET, cap_memory, come_last, die_first

GIB = 1 << 30


def job_of(bundle: Bundle, tmp_path: Path) -> BuildJob:
    none = str(tmp_path / "none")
    engines = str(tmp_path / "engines")
    return BuildJob("compile", str(bundle.folder), engines, "onnxruntime", "/", None, 4 * GIB, none, none)


def build(
    job: BuildJob,
    tmp_path: Path,
    *,
    timeout_s: float = 60.0,
    say: Callable[[BuildText], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Built:
    return run_build(job, cache=tmp_path / "cache", timeout_s=timeout_s, say=say, cancelled=cancelled)


def test_engines_are_compiled_loaded_and_measured_by_processes_of_their_own(bundle: Bundle, tmp_path: Path) -> None:
    job, said = job_of(bundle, tmp_path), list[str]()
    assert build(job, tmp_path, say=lambda text: said.append(text.text)) == Built()
    assert [line.partition(":")[0] for line in said][:4] == ["planner", "bridge", "sampler", "actions"]
    assert (tmp_path / "engines" / ENGINES_MANIFEST).exists()
    build(msgspec.structs.replace(job, action="warm_up", nice=1), tmp_path)
    measured = build(msgspec.structs.replace(job, action="measure"), tmp_path).latency_ms
    assert set(measured) == {"planner", "bridge", "sampler"}
    assert min(measured.values()) > 0


def test_what_a_build_refuses_comes_back_as_what_it_is(bundle: Bundle, tmp_path: Path) -> None:
    job = job_of(bundle, tmp_path)
    with pytest.raises(ManifestError, match="no engines to serve in"):
        build(msgspec.structs.replace(job, action="warm_up"), tmp_path)
    bundle.path("planner.onnx").write_bytes(b"")
    with pytest.raises(Exception, match=r"planner\.onnx was altered") as caught:
        build(job, tmp_path)
    assert type(caught.value).__name__ == "FileAlteredError"
    assert not (tmp_path / "engines").exists()


def test_a_build_whose_memory_is_capped_too_low_is_one_sentence(bundle: Bundle, tmp_path: Path) -> None:
    job = msgspec.structs.replace(job_of(bundle, tmp_path), memory_bytes=24 << 20)
    with pytest.raises(PreflightError, match="compile had 24 MiB of memory and needs more") as caught:
        build(job, tmp_path)
    assert "raise build.memory_bytes in device.json, or flash a smaller bundle" in str(caught.value)
    assert "\n" not in str(caught.value)


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "echo assertion failed >&2; kill -SEGV $$",
            (EngineError, "with signal SIGSEGV .* printed: assertion failed;"),
        ),
        ("kill -KILL $$", (PreflightError, "had 4096 MiB of memory and needs more .the process ended with status -9")),
        ("echo std::bad_alloc >&2; kill -ABRT $$", (PreflightError, "needs more .*std::bad_alloc")),
        ("exit 3", (EngineError, "compile ended with status 3 before it was done; `st4vla device log`")),
        ("exec 3>&-; cat >/dev/null; exit 0", (EngineError, "compile ended with status 0 before it was done")),
    ],
)
def test_a_build_that_dies_is_one_sentence(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: tuple[type[Exception], str]
) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path / "program", text))
    with pytest.raises(error[0], match=error[1]):
        build(job_of(bundle, tmp_path), tmp_path)


def test_a_build_that_hangs_or_is_not_wanted_is_ended_with_all_that_it_began(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path / "program", f"sleep 60 & echo $! > {tmp_path}/pid; wait"))
    job = job_of(bundle, tmp_path)
    with pytest.raises(EngineError, match=r"compile took longer than build\.timeout_s in device\.json allows"):
        build(job, tmp_path, timeout_s=0.5)
    assert ends(int((tmp_path / "pid").read_text()))
    (tmp_path / "pid").unlink()
    with pytest.raises(CancelledError, match="cancelled during compile; the policy that serves was not touched"):
        build(job, tmp_path, cancelled=(tmp_path / "pid").exists)
    with suppress(ValueError):
        assert ends(int((tmp_path / "pid").read_text()))


def test_a_build_ends_with_whoever_asked_for_it(bundle: Bundle, tmp_path: Path) -> None:
    # Its engine library loads for longer than it takes to kill the one that waits for it.
    context = multiprocessing.get_context("fork")
    asking = context.Process(target=build, args=(job_of(bundle, tmp_path), tmp_path))
    asking.start()
    children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children")
    deadline = time.monotonic() + 20
    while not (found := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.005)
    building = int(found[0])
    asking.kill()
    asking.join()
    assert ends(building)


def test_a_signal_to_the_group_of_whoever_asked_is_not_for_the_build(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path / "program", f"ps -o pgid= $$ > {tmp_path}/group"))
    with pytest.raises(EngineError):
        build(job_of(bundle, tmp_path), tmp_path)
    assert int((tmp_path / "group").read_text()) != os.getpgid(0)


def ends(process: int) -> bool:
    """Wait for a process that is not our child to be gone, or to be a corpse that nobody has buried."""
    for _ in range(1000):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def in_child(work: Callable[[], bool]) -> bool:
    """Say whether something is true in a process of its own."""
    context = multiprocessing.get_context("fork")
    child = context.Process(target=lambda: os._exit(0 if work() else 1))
    child.start()
    child.join()
    return child.exitcode == 0


def test_the_lowest_priority_leaves_the_cpu_and_the_disk_to_others() -> None:
    def lowest() -> bool:
        come_last(19)
        ioprio_get = {"x86_64": 252, "aarch64": 31}[platform.machine()]
        io_class = ctypes.CDLL(None).syscall(ioprio_get, 1, 0) >> 13
        policy, nice = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
        return (io_class, policy, nice) == (3, os.SCHED_IDLE, 19)

    def grouped() -> bool:
        os.setsid()
        come_last(19)
        return Path("/proc/self/autogroup").read_text().endswith("nice 19\n")

    def low() -> bool:
        come_last(7)
        return (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)) == (os.SCHED_OTHER, 7)

    assert platform.machine() in _IOPRIO_SET
    assert in_child(lowest)
    # Without it, a session of its own would get as much as all others together.
    assert in_child(grouped) or not Path("/proc/self/autogroup").exists()
    assert in_child(low)


def test_a_process_whose_memory_is_capped_gets_no_more() -> None:
    def capped() -> bool:
        cap_memory(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + (64 << 20))
        try:
            bytearray(GIB)
        except MemoryError:
            return True
        return False

    assert in_child(capped)


def test_a_build_is_what_the_kernel_kills_first() -> None:
    def first() -> bool:
        die_first()
        return Path("/proc/self/oom_score_adj").read_text() == "1000\n"

    assert in_child(first)
