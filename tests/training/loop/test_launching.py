"""What Accelerate's launcher makes of our configuration files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from PIL import Image

from st4vla.contracts.errors import UsageError
from st4vla.training.checkpoint import init_checkpoint, load_checkpoint, save_checkpoint
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn, write_samples
from st4vla.training.loop.world import World, join_world

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


@pytest.mark.parametrize(("name", "machines", "processes"), [("fsdp2", 1, 8), ("fsdp2_64", 8, 64)])
def test_the_sharding_files_differ_in_their_machines_alone(name: str, machines: int, processes: int) -> None:
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    assert (config.num_machines, config.num_processes, config.mixed_precision) == (machines, processes, "bf16")
    sharding = config.fsdp_config
    assert sharding["fsdp_version"] == 2
    assert sharding["fsdp_transformer_layer_cls_to_wrap"] == "Qwen2_5_VLDecoderLayer"
    assert sharding == load_config_from_file(str(CONFIGS / "fsdp2.yaml")).fsdp_config


def test_the_file_of_deepspeed_is_one_that_accelerate_reads() -> None:
    config = load_config_from_file(str(CONFIGS / "zero2.yaml"))
    assert (config.num_processes, config.mixed_precision, config.deepspeed_config["zero_stage"]) == (8, "bf16", 2)


def test_a_process_that_no_launcher_started_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCELERATE_MIXED_PRECISION", "RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    world = join_world()
    assert type(world) is World
    assert (world.processes.rank, world.processes.count) == (0, 1)


def test_the_first_version_of_fsdp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(UsageError, match="set fsdp_version: 2"):
        join_world()


@pytest.mark.slow
def test_accelerate_launches_stage_1_on_two_processes_in_half_precision(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "start", init_checkpoint("tabletop", 2))
    turn = Turn("Where is it?", targets=(Target("it", box=(10, 10, 30, 40)),))
    Image.new("RGB", (56, 56), "red").save(tmp_path / "0.png")
    write_samples(tmp_path / "samples.jsonl", [GroundingSample("0", Task.BOX, ("0.png",), (56, 56), (turn,))])
    files = f'samples = "{tmp_path}/samples.jsonl"\nimages = "{tmp_path}"\n'
    (tmp_path / "run.toml").write_text(
        f'checkpoint = "{tmp_path}/start"\nbatch_size = 2\nguidance = 0.1\nrate = 5e-3\nheld_out_count = 1\n'
        f"[[data]]\n{files}"
        f"[held_out]\n{files}[loop]\nsteps = 20\nwarmup_steps = 2\nsave_every = 10\n"
    )
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / "fsdp2.yaml")]
    stage = [
        "-m",
        "st4vla.training",
        "grounding",
        "--config",
        str(tmp_path / "run.toml"),
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(
        [*launch, "--num_processes", "2", "--main_process_port", "0", *stage],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    # One line, though there were two processes.
    assert json.loads(done.stdout)["steps_of_this_try"] == 20
    curve = [json.loads(line)["loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(curve) == 20
    assert curve[-1] < 0.5 * curve[0]
    assert json.loads((tmp_path / "run" / "receipt.json").read_text())["processes"] == 2
    load_checkpoint(tmp_path / "run" / "checkpoint")
