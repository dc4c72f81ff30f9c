import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from st4vla.contracts.command_line import main
from st4vla.training.checkpoint import load_checkpoint


@pytest.fixture
def config(joint_data: Path) -> Path:
    tmp_path = joint_data
    files = f'samples = "{tmp_path}/samples.jsonl"\nimages = "{tmp_path}"\n'
    path = tmp_path / "run.toml"
    path.write_text(
        f'checkpoint = "{tmp_path}/start"\nprompt = "generic"\nbatch_size = 4\nnoise_draws = 8\nrate = 3e-3\n'
        f'[[data]]\nfolder = "{tmp_path}/episodes"\nembodiment = "panda"\n'
        f"[co_training]\nbatch_size = 2\n[[co_training.data]]\n{files}"
        f"[measuring]\nevery = 20\nmoments = 8\nboxes = 2\nsimilarity_every = 20\nsimilarity_batch = 4\n"
        f"[measuring.samples]\n{files}"
        "[loop]\nsteps = 40\nwarmup_steps = 1\nsave_every = 30\n"
    )
    return path


def train(config: Path, out: Path, *overrides: str) -> int:
    return main(
        ["train", "actions", "--config", str(config), "--out", str(out), *(f"--set={each}" for each in overrides)]
    )


def lines_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def lines_of_whole(run: Path) -> list[str]:
    """Return the lines that are written to their end, of a run that may be writing."""
    return (run / "metrics.jsonl").read_text().split("\n")[:-1]


def test_a_tiny_policy_learns_which_way_to_go_in_one_step_for_both_losses(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert train(config, out) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["after"]["held_out_squared_ratio"] < figures["before"]["held_out_squared_ratio"] / 5
    lines = lines_of(out)
    assert [line["step"] for line in lines] == list(range(40))
    assert all({"action", "grounding", "loss"} <= line.keys() for line in lines)
    assert [line["step"] for line in lines if "held_out_boxes" in line] == [19, 39]
    measured = [line for line in lines if "similarity" in line]
    assert [line["step"] for line in measured] == [19, 39]
    assert all(0 <= line["similarity"] <= 1 for line in measured)
    trained = load_checkpoint(out / "checkpoint")
    assert trained.manifest.prompt.template == "generic"
    assert set(trained.manifest.statistics) == {"panda"}
    assert trained.manifest.statistics["panda"].max[0] == pytest.approx(0.01)
    assert {path.name for path in out.iterdir()} >= {"receipt.json", "boxes.png"}


def test_measuring_changes_no_bit_of_the_training(config: Path, tmp_path: Path) -> None:
    measured, plain = tmp_path / "measured", tmp_path / "plain"
    quick = ("loop.steps=6", "measuring.boxes=1", "measuring.moments=2")
    assert train(config, measured, *quick, "measuring.every=2", "measuring.similarity_every=3") == 0
    assert train(config, plain, *quick, "measuring.every=0", "measuring.similarity_every=0") == 0
    first, second = (load_checkpoint(run / "checkpoint").policy.state_dict() for run in (measured, plain))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_frozen_planner_stays_and_actions_alone_can_be_learnt(config: Path, tmp_path: Path) -> None:
    text = config.read_text()
    start, end = text.index("[co_training]"), text.index("[measuring]")
    config.write_text(text[:start] + text[end:])
    out = tmp_path / "run"
    arguments = ("loop.steps=3", 'frozen=["qwen_vl_interface"]', "measuring.similarity_every=0", "measuring.every=0")
    assert train(config, out, *arguments) == 0
    before, after = (load_checkpoint(folder).policy.state_dict() for folder in (tmp_path / "start", out / "checkpoint"))
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "qwen_vl_interface" not in changed
    assert "action_model" in changed
    assert all("grounding" not in line for line in lines_of(out))


def test_training_for_real_time_chunking_is_told_to_the_sampler(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    quick = ("loop.steps=2", "measuring.every=0", "measuring.similarity_every=0", "measuring.boxes=1")
    assert train(config, out, *quick, "max_delay=4") == 0
    assert load_checkpoint(out / "checkpoint").manifest.sampler.clean_prefix


def test_several_embodiments_keep_ranges_of_their_own(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "others"
    shutil.copytree(tmp_path / "episodes", other)
    info = json.loads((other / "meta/info.json").read_text())
    (other / "meta/info.json").write_text(json.dumps(info | {"splits": {"train": "0:1", "val": "1:2"}}))
    entry = f'[[data]]\nfolder = "{other}"\nembodiment = "ur5"\nweight = 0.5\n'
    config.write_text(config.read_text().replace("[co_training]", f"{entry}[co_training]", 1))
    out = tmp_path / "run"
    assert train(config, out, "loop.steps=2", "measuring.every=0", "measuring.similarity_every=0") == 0
    statistics = load_checkpoint(out / "checkpoint").manifest.statistics
    assert statistics["panda"].max[0] == pytest.approx(0.01)
    assert statistics["ur5"].max[0] == pytest.approx(-0.01)


def test_data_sets_of_one_embodiment_share_its_range(config: Path, tmp_path: Path) -> None:
    # One has only an episode to one side, the other only one to the other.
    other = tmp_path / "others"
    shutil.copytree(tmp_path / "episodes", other)
    for folder, train_split, val_split in ((tmp_path / "episodes", "0:1", "1:2"), (other, "1:2", "0:1")):
        path = folder / "meta/info.json"
        splits = {"splits": {"train": train_split, "val": val_split}}
        path.write_text(json.dumps(json.loads(path.read_text()) | splits))
    entry = f'[[data]]\nfolder = "{other}"\nembodiment = "panda"\n'
    config.write_text(config.read_text().replace("[co_training]", f"{entry}[co_training]", 1))
    quick = ("loop.steps=2", "measuring.every=0", "measuring.similarity_every=0", "measuring.boxes=1")
    assert train(config, tmp_path / "run", *quick) == 0
    statistics = load_checkpoint(tmp_path / "run/checkpoint").manifest.statistics
    assert set(statistics) == {"panda"}
    assert statistics["panda"].min[0] == pytest.approx(-0.01)
    assert statistics["panda"].max[0] == pytest.approx(0.01)


def test_a_head_that_has_learnt_nothing_can_begin_anew(config: Path, tmp_path: Path) -> None:
    quick = ("loop.steps=1", "loop.warmup_steps=0", "measuring.every=0", "measuring.similarity_every=0")
    assert train(config, tmp_path / "old", *quick) == 0
    assert train(config, tmp_path / "fresh", *quick, "fresh_head=true", "min_snr=0.1") == 0
    old, fresh = (lines_of(tmp_path / run)[0] for run in ("old", "fresh"))
    assert fresh["grounding"] == old["grounding"]
    assert fresh["action"] < old["action"] / 10


def test_ranges_that_only_tremble_are_widened(config: Path, tmp_path: Path) -> None:
    quick = ("loop.steps=2", "measuring.every=0", "measuring.similarity_every=0", "measuring.boxes=1")
    assert train(config, tmp_path / "run", *quick, "min_range=0.05") == 0
    found = load_checkpoint(tmp_path / "run/checkpoint").manifest.statistics["panda"]
    assert min(high - low for low, high in zip(found.q01, found.q99, strict=True)) == pytest.approx(0.05)


def test_averaged_weights_are_what_is_kept(config: Path, tmp_path: Path) -> None:
    quick = ("loop.steps=4", "measuring.every=0", "measuring.similarity_every=0", "measuring.boxes=1")
    runs = tmp_path / "raw", tmp_path / "averaged"
    assert train(config, runs[0], *quick) == 0
    assert train(config, runs[1], *quick, "loop.average_decay=0.9") == 0
    raw, averaged = (load_checkpoint(run / "checkpoint").policy.state_dict() for run in runs)
    assert any(not torch.equal(raw[name], averaged[name]) for name in raw)


def test_a_run_that_is_killed_ends_as_if_nothing_had_happened(config: Path, tmp_path: Path) -> None:
    settings = (
        *("loop.steps=24", "loop.save_every=5", "loop.average_decay=0.9", "max_delay=4"),
        *("measuring.every=0", "measuring.similarity_every=0", "measuring.boxes=1", "measuring.moments=2"),
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert train(config, whole, *settings) == 0
    torch.set_num_threads(threads)

    words = ["train", "actions", "--config", str(config), "--out", str(broken), *(f"--set={each}" for each in settings)]
    st4vla = [str(Path(sys.executable).with_name("st4vla")), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(st4vla, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        # Two states are written by then, and what follows the second one is lost.
        while not (broken / "metrics.jsonl").is_file() or len(lines_of_whole(broken)) < 13:
            assert process.poll() is None
            time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
    assert len(lines_of_whole(broken)) < 24
    assert not (broken / "checkpoint").exists()

    done = subprocess.run(st4vla, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["steps_of_this_try"] < 24
    assert (broken / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    for name in ("checkpoint/model.safetensors", "step_00000024/model.safetensors"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


def test_what_does_not_fit_is_one_line(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert train(config, out, "prompt=nothing") != 0
    assert train(config, out, "data=[]") != 0
    assert train(config, out, "min_range=-1.0") == 2
    assert train(config, out, 'measuring.similarity_weights=["nothing"]') != 0
    err = capsys.readouterr().err
    assert err.count("\n") == 4
    assert "min_range -1 and min_snr 0 must be 0, which is none, or positive" in err
