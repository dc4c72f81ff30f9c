import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from st4vla.contracts.command_line import main
from st4vla.training.checkpoint import init_checkpoint, load_checkpoint, save_checkpoint
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn, write_samples


@pytest.fixture
def config(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "start", init_checkpoint("tiny", 2))
    rows = []
    for index in range(4):
        Image.new("RGB", (56, 56), (60 * index, 0, 0)).save(tmp_path / f"{index}.png")
        turn = Turn("Where?", targets=(Target("it", box=(10, 10, 30, 40)),))
        rows.append(GroundingSample(str(index), Task.BOX, (f"{index}.png",), (56, 56), (turn,)))
    write_samples(tmp_path / "samples.jsonl", rows)
    path = tmp_path / "run.toml"
    files = f'samples = "{tmp_path}/samples.jsonl"\nimages = "{tmp_path}"\n'
    path.write_text(
        f'checkpoint = "{tmp_path}/start"\nbatch_size = 4\nrate = 5e-3\nheld_out_count = 3\n[[data]]\n{files}'
        f"[held_out]\n{files}[loop]\nsteps = 60\nwarmup_steps = 5\nsave_every = 50\n"
    )
    return path


def test_a_tiny_planner_learns_one_box_by_heart_and_nothing_else_changes(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", "grounding", "--config", str(config), "--out", str(out)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["accuracy_at_iou_0.5"] == {"before": 0.0, "after": 1.0, "boxes": 3}
    assert {path.name for path in out.iterdir()} >= {"checkpoint", "metrics.jsonl", "receipt.json", "boxes.png"}
    before, after = (load_checkpoint(folder).policy.state_dict() for folder in (tmp_path / "start", out / "checkpoint"))
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"qwen_vl_interface"}


def test_a_configuration_that_does_not_fit_is_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "grounding", "--config", str(config), "--out", str(config.parent / "run")]
    assert main([*arguments, "--set", "loop.stepps=3"]) == 2
    assert main([*arguments, "--set", "data=[]"]) == 2
    assert main([*arguments, "--set", f"checkpoint={config.parent / 'nowhere'}"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 3
    assert "stepps" in err
