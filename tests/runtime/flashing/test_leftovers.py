import subprocess
import sys
from pathlib import Path

from st4vla.runtime.flashing.leftovers import FILE, end_leftovers, note_servers


def test_only_the_very_process_that_was_noted_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen(command, start_new_session=True) as noted,
        subprocess.Popen(command, start_new_session=True) as other,
    ):
        note_servers(tmp_path, [noted.pid])
        # Another process has its number by now: that is what a wrong start time says.
        with (tmp_path / FILE).open("a") as file:
            file.write(f"{other.pid} 1\nnot a line\n")
        assert end_leftovers(tmp_path) == [noted.pid]
        assert noted.wait(10) == -9
        assert other.poll() is None
        other.kill()


def test_without_a_note_nothing_is_ended(tmp_path: Path) -> None:
    assert end_leftovers(tmp_path) == []
    note_servers(tmp_path, [2**22 - 1])
    assert end_leftovers(tmp_path) == []
