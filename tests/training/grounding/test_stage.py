import json
import os
import resource
import signal
import subprocess
import sys
import time
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


def command(config: Path, out: Path, *settings: str) -> list[str]:
    words = ["train", "grounding", "--config", str(config), "--out", str(out)]
    return [*words, *(word for setting in settings for word in ("--set", setting))]


def steps_logged(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def small_files_only() -> None:
    """Let this process write nothing larger than 100 kB, as if the disk were full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_run_that_is_killed_and_then_out_of_disk_ends_as_if_nothing_had_happened(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("loop.steps=40", "loop.save_every=5", "held_out_count=1", "length_window=2", "batch_size=2")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(command(config, whole, *settings)) == 0
    torch.set_num_threads(threads)

    st4vla = [str(Path(sys.executable).with_name("st4vla")), *command(config, broken, *settings)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(st4vla, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while steps_logged(broken) < 13:
            assert process.poll() is None
            time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
    assert steps_logged(broken) < 40
    assert not (broken / "checkpoint").exists()

    done = subprocess.run(
        st4vla, env=environment, preexec_fn=small_files_only, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    refusal = json.loads(done.stdout.splitlines()[-1])
    assert refusal["error"] == "StorageError"
    assert "could not be written" in refusal["message"]
    assert "run the same command again" in refusal["message"]

    done = subprocess.run(st4vla, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["steps_of_this_try"] < 40
    assert (broken / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    for name in ("checkpoint/model.safetensors", "step_00000040/model.safetensors"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


def test_a_broken_picture_is_named_with_its_sample(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "2.png"
    picture.write_bytes(picture.read_bytes()[:-30])
    config.write_text(config.read_text().replace("held_out_count = 3", "held_out_count = 1"))
    assert main(command(config, tmp_path / "run", "loop.steps=2", "loop.warmup_steps=0")) == 1
    message = json.loads(capsys.readouterr().out.splitlines()[-1])["message"]
    assert "sample '2'" in message
    assert f"{picture} cannot be read as a picture" in message
    assert "replace the picture" in message
