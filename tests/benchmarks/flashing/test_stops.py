import subprocess
import sys
from pathlib import Path

from st4vla.benchmarks.flashing.stops import Stops

#: Five changes below the device's root, and one elsewhere.
CHANGES = """
import os, sys
from pathlib import Path
root = Path(sys.argv[1])
Path(sys.argv[2]).write_text("elsewhere")
(root / "a").write_text("1")
(root / "a").replace(root / "b")
os.link(root / "b", root / "c")
(root / "b").unlink()
(root / "d").mkdir()
(root / "c").read_text()
"""


def start(stops: Stops, root: Path, elsewhere: Path) -> subprocess.Popen[bytes]:
    environment = stops.environment({"PYTHONPATH": "", "ST4VLA_ROOT": str(root)})
    return subprocess.Popen([sys.executable, "-c", CHANGES, str(root), str(elsewhere)], env=environment)


def test_changes_are_counted_and_a_process_is_stopped_before_the_one_that_is_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    stops = Stops(tmp_path / "stops")
    with start(stops, root, tmp_path / "other") as process:
        assert process.wait(20) == 0
    assert stops.count == 5
    assert stops.stopped() is None
    for path in (root / "c", root / "d"):
        path.rmdir() if path.is_dir() else path.unlink()
    stops.begin(4)
    with start(stops, root, tmp_path / "other") as process:
        found = stops.wait(lambda: process.poll() is not None)
        process.kill()
    assert found == f"os.remove {root}/b"
    assert {path.name for path in root.iterdir()} == {"b", "c"}
    assert stops.count == 4


def test_counting_begins_again(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    stops = Stops(tmp_path / "stops")
    for number in (1, 2):
        stops.begin(number)
        with start(stops, root, tmp_path / "other") as process:
            assert stops.wait(lambda: process.poll() is not None) is not None
            process.kill()
        assert stops.count == number
