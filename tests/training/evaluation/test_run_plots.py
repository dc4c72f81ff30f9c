import json
from pathlib import Path

import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.errors import DatasetError
from st4vla.training.evaluation.run_plots import plot_run, thinned


def write_metrics(run: Path, *, co_training: bool) -> None:
    lines = []
    for step in range(250):
        line = {"step": step, "loss": 2.0 / (step + 1), "action": 1.0 / (step + 1)}
        if co_training:
            line["grounding"] = 1.0 / (step + 1)
        if step % 50 == 49:
            line |= {"held_out_boxes": step / 250, "held_out_squared_ratio": 1.0, "similarity": 0.5}
        lines.append(line)
    run.mkdir()
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("co_training", [False, True])
def test_what_a_run_measured_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str], *, co_training: bool) -> None:
    write_metrics(tmp_path / "run", co_training=co_training)
    assert main(["train", "plot", str(tmp_path / "run")]) == 0
    pictures = json.loads(capsys.readouterr().out)["pictures"]
    assert [Path(picture).name for picture in pictures] == ["loss.png", "accuracy.png", "error.png", "similarity.png"]
    assert all(Path(picture).read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_many_points_become_means_of_neighbours() -> None:
    curve = [(float(step + 1), float(step)) for step in range(1000)]
    few = thinned(curve)
    assert len(few) == 100
    assert few[0] == (10.0, 4.5)
    assert thinned(curve[:7]) == curve[:7]


def test_a_folder_without_metrics_and_a_broken_line_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="name the folder of a run"):
        plot_run(tmp_path, tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "loss": 1.0}\n{"step"\n')
    with pytest.raises(DatasetError, match="line 2"):
        plot_run(tmp_path, tmp_path)
