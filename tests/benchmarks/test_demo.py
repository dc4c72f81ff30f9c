import json
from pathlib import Path

import av
import pytest
from PIL import Image

from st4vla.benchmarks.server_process import serving
from st4vla.contracts.command_line import main
from st4vla.contracts.errors import ServerUnreachableError

BUNDLE = Path(__file__).parents[2] / "bundles" / "tiny"


def test_the_demo_goes_the_whole_way_and_says_which_bound_it_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A short episode cannot have 400 ticks, and the demo says so; everything else of it is whole."""
    assert main(["demo", "--bundle", str(BUNDLE), "--seconds", "3", "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    figures = json.loads(out.splitlines()[-1])
    assert "control_ticks is 60, wanted at least 400" in figures["missed"]
    assert figures["control_ticks"] == figures["frames_sent"] == 60
    assert figures["chunks"] > 10
    assert figures["errors"] == 0
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert receipt["served"]["bundle"] == "tiny"
    assert receipt["figures"]["control_ticks"] == 60
    with av.open(str(tmp_path / "episode.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 60
    with Image.open(tmp_path / "timeline.png") as picture:
        assert picture.width > 1000
    assert '"chunks"' in (tmp_path / "server.log").read_text()


def test_a_demo_without_a_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--bundle", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "is not there" in captured.err


@pytest.mark.parametrize(("options", "match"), [(["--seconds", "0"], "--seconds 0"), (["--seed", "-1"], "--seed -1")])
def test_an_impossible_episode_is_refused(options: list[str], match: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *options]) == 2
    assert match in capsys.readouterr().err


def test_a_server_that_cannot_start_gives_its_own_reason(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerUnreachableError, match=r"ended with status 1 .*: st4vla: no engines to serve"),
        serving(BUNDLE, tmp_path / "none", tmp_path / "server.log"),
    ):
        pass
