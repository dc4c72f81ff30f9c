"""`st4vla-bridge` beside its runtime on one machine: frames in shared memory, servers and clients that are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from st4vla.runtime.core import Core
from st4vla.runtime.local.door import LocalDoor
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.scheduler import SchedulingConfig

Run = Callable[..., Any]
#: Views of this side lie side by side in a message.
SIZE = 32
RATE = ("--pattern=", "--pattern=", "--rate", "50")
SERVER = """
import signal, sys
from pathlib import Path
from st4vla.runtime.core import Core
from st4vla.runtime.local.door import LocalDoor
from st4vla.runtime.policy import NullPolicy
core = Core(NullPolicy(image_size=32))
door = LocalDoor(core, Path(sys.argv[1]))
door.start()
core.start()
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.fixture
def core(path: Path) -> Iterator[Core]:
    served = Core(NullPolicy(image_size=SIZE), SchedulingConfig())
    door = LocalDoor(served, path)
    door.start()
    served.start()
    yield served
    served.stop()
    door.stop()


@pytest.fixture
def process(path: Path) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """Start a server in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin() -> "subprocess.Popen[str]":
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(path)], stdout=subprocess.PIPE, text=True)
        started.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        return server

    yield begin
    for server in started:
        server.kill()
        server.communicate()


def test_frames_go_out_and_chunks_come_in(run: Run, core: Core, path: Path) -> None:
    ended = run("stream", "--endpoint", f"local:{path}", *RATE, "--seconds", "1.5")
    assert ended.status == 0, ended.err
    assert 40 <= ended.count("chunks_received") <= ended.count("frames_sent") <= 100
    assert abs(ended.line["clock_offset_ms"]) <= ended.line["clock_error_ms"] < 100
    amiss = {name: count for name, count in ended.line["counters"].items() if "refused" in name or "messages" in name}
    assert not any(amiss.values()), amiss
    assert ended.count("frames_busy") == 0
    # Memory goes round: what it is given back is written to again.
    assert ended.count("buffers_grown") < 8
    assert not [name for name in core.counts if name.startswith("refused")]
    assert core.scheduler.clients == 0, "it has hung up"


def test_jpegs_are_shared_as_well(run: Run, core: Core, path: Path) -> None:
    ended = run("stream", "--endpoint", f"local:{path}", *RATE, "--jpeg", "90", "--seconds", "0.5")
    assert ended.status == 0, ended.err
    assert ended.count("chunks_received") > 5
    assert core.counts["chunks"] > 5


def test_a_question_is_answered(run: Run, core: Core, path: Path) -> None:
    ended = run("ping", "--endpoint", f"local:{path}", "--count", "50")
    assert ended.status == 0, ended.err
    assert ended.line["answers"] == 50
    assert core.counts["chunks"] >= 50


def test_a_server_that_is_killed_is_followed_by_the_next_one_within_a_second(
    start: Run, process: Callable[[], Any], path: Path
) -> None:
    server = process()
    running = start("stream", "--endpoint", f"local:{path}", *RATE)
    time.sleep(1.0)
    server.kill()
    server.wait()
    time.sleep(0.5)
    process()
    time.sleep(1.0)
    ended = running.end()
    assert ended.status == 0, ended.err
    # A server that is dying may take a connection still.
    assert 2 <= ended.count("connections") == ended.count("disconnections") + 1 <= 4
    assert ended.count("server_restarts") == 1
    assert ended.count("welcomes_received") == 2
    # Two seconds of service at 50 a second.
    assert ended.count("chunks_received") > 60


def test_a_client_that_is_killed_leaves_its_place_and_its_memory(start: Run, run: Run, core: Core, path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    running = start("stream", "--endpoint", f"local:{path}", *RATE)
    deadline = time.monotonic() + 10
    while core.counts["chunks"] < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    running.kill()
    while core.scheduler.clients and time.monotonic() < deadline:
        time.sleep(0.01)
    assert core.scheduler.clients == 0
    ended = run("ping", "--endpoint", f"local:{path}", "--count", "20")
    assert ended.status == 0, ended.err
    while len(list(descriptors.iterdir())) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(list(descriptors.iterdir())) <= before


def test_frames_are_dropped_while_the_server_stands_still_and_service_goes_on_after_it(
    start: Run, process: Callable[[], Any], path: Path
) -> None:
    server = process()
    running = start("stream", "--endpoint", f"local:{path}", *RATE)
    time.sleep(1.0)
    os.kill(server.pid, signal.SIGSTOP)
    time.sleep(1.0)
    os.kill(server.pid, signal.SIGCONT)
    time.sleep(1.0)
    ended = running.end()
    assert ended.status == 0, ended.err
    assert ended.count("connections") == 1
    # Of the second that nobody read, a few frames are served, and no more of them.
    assert ended.count("frames_superseded") + ended.count("frames_busy") > 30
    assert ended.count("chunks_received") > 60


def test_nobody_listening_and_a_server_that_says_nothing_are_told_apart(run: Run, path: Path) -> None:
    ended = run("ping", "--endpoint", f"local:{path}", "--count", "1")
    assert ended.status == 1
    assert "nothing listens" in ended.err.lower() or "no server" in ended.err.lower(), ended.err


def test_a_local_endpoint_takes_no_keys_and_has_a_path(run: Run) -> None:
    ended = run("ping", "--endpoint", "local:")
    assert ended.status == 1
    assert "has no path" in ended.err


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_minute_at_full_rate_takes_no_more_memory(start: Run, process: Callable[[], Any], path: Path) -> None:
    server = process()
    running = [start("stream", "--endpoint", f"local:{path}", *RATE[:2], "--rate", "200") for _ in range(2)]
    time.sleep(10)
    before = resident_bytes(server.pid)
    time.sleep(60)
    grown = resident_bytes(server.pid) - before
    ended = [each.end() for each in running]
    assert grown < 2e6, f"{grown / 1e6:.1f} MB more after a minute"
    for each in ended:
        assert each.status == 0, each.err
        assert each.count("chunks_received") > 60 * 20
        assert each.count("buffers_grown") <= 8
        assert each.count("connections") == 1
