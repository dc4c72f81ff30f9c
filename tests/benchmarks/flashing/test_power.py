import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from st4vla.benchmarks.flashing.power import Powered

#: A process in a session of its own, which starts another one; both say their number in a file and ignore all signals.
STUBBORN = (
    "trap '' TERM INT HUP; setsid sh -c 'trap \"\" TERM INT HUP; while :; do touch {0}/inner; sleep 0.01; done' & "
    "while :; do touch {0}/outer; sleep 0.01; done"
)


def alive(path: Path) -> bool:
    """Say whether somebody still touches a file."""
    before = path.stat().st_mtime_ns
    time.sleep(0.1)
    return path.stat().st_mtime_ns != before


def await_files(*paths: Path) -> None:
    deadline = time.monotonic() + 20
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_cut_kills_every_process_whatever_session_it_is_in(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    with Powered(["sh", "-c", STUBBORN.format(tmp_path)], tmp_path / "log") as power:
        await_files(inner, outer)
        assert power.on
        assert alive(inner)
        power.cut()
        assert not power.on
        assert not alive(inner)
        assert not alive(outer)


def test_a_cut_at_the_very_beginning_leaves_nothing(tmp_path: Path) -> None:
    power = Powered(["sh", "-c", STUBBORN.format(tmp_path)], tmp_path / "log")
    power.cut()
    assert not power.on
    if (tmp_path / "outer").exists():
        assert not alive(tmp_path / "outer")


def test_nothing_is_left_when_whoever_started_it_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from st4vla.benchmarks.flashing.power import Powered;"
        "power = Powered(['sh', '-c', sys.argv[1]], Path(sys.argv[2])); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, STUBBORN.format(tmp_path), str(tmp_path / "log")]
    with subprocess.Popen(command) as starter:
        await_files(tmp_path / "inner", tmp_path / "outer")
        starter.send_signal(signal.SIGKILL)
    time.sleep(0.2)
    assert not alive(tmp_path / "inner")
    assert not alive(tmp_path / "outer")


def test_its_mounts_are_seen_by_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    mount = f"mount -t tmpfs none {tmp_path}/disk && touch {tmp_path}/disk/there {tmp_path}/done; sleep 60"
    with Powered(["sh", "-c", mount], tmp_path / "log"):
        await_files(tmp_path / "done")
        assert os.listdir(tmp_path / "disk") == []  # noqa: PTH208
