import json
from pathlib import Path

import pytest

from st4vla.contracts.command_line import main
from st4vla.training.ablation.rows import Row


@pytest.mark.slow
def test_all_rows_are_trained_once_and_end_in_one_table(joint_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = f'samples = "{joint_data}/samples.jsonl"\nimages = "{joint_data}"\n'
    config, out = joint_data / "ablation.toml", joint_data / "run"
    config.write_text(
        f'pretrained = "{joint_data}/start"\nseeds = [0]\nworkers = 2\n'
        f'[actions]\ncheckpoint = "{joint_data}/start"\nprompt = "generic"\nbatch_size = 4\nloop.steps = 3\n'
        f'[[actions.data]]\nfolder = "{joint_data}/episodes"\nembodiment = "panda"\n'
        f"[actions.co_training]\nbatch_size = 2\n[[actions.co_training.data]]\n{files}"
        "[actions.measuring]\nevery = 2\nmoments = 4\nboxes = 2\nsimilarity_every = 2\nsimilarity_batch = 4\n"
        f"[actions.measuring.samples]\n{files}"
    )
    arguments = ["train", "ablation", "--config", str(config), "--out", str(out)]
    assert main(arguments) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures["rows"]) == [row.value for row in Row]
    assert all(len(row["held_out_boxes"]) == 1 for row in figures["rows"].values())
    assert {path.name for path in out.iterdir()} >= {"table.md", "receipt.json", "grounding.png", "error.png"}
    assert len((out / "table.md").read_text().splitlines()) == 2 + len(Row)
    # Nothing is trained again.
    before = {row: (out / row.value / "seed_0/receipt.json").stat().st_mtime_ns for row in Row}
    assert main([*arguments, "--set", "workers=1"]) == 0
    assert before == {row: (out / row.value / "seed_0/receipt.json").stat().st_mtime_ns for row in Row}
