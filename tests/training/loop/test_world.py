"""Two processes take the steps of one. They are processes of their own, on processors, and talk through gloo."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from st4vla.contracts.errors import TrainingError
from st4vla.training.checkpoint import init_checkpoint
from st4vla.training.grounding.batches import GroundingSet
from st4vla.training.grounding.objective import GroundingObjective
from st4vla.training.grounding.samples import GroundingSample, Target, Task, Turn, write_samples
from st4vla.training.grounding.stage import FROZEN
from st4vla.training.loop.leaving import leave_together
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.loop.parameters import parameter_groups
from st4vla.training.loop.trainer import LoopConfig, train
from st4vla.training.loop.world import World, join_world
from st4vla.training.policy import St4vlaPolicy

STEPS = LoopConfig(steps=4, warmup_steps=1, clip_norm=0.5, save_every=2, keep=2, seed=1)
MODES: dict[str, dict[str, str]] = {
    "ddp": {},
    "fsdp2": {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "Qwen2_5_VLDecoderLayer",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
        "FSDP_ACTIVATION_CHECKPOINTING": "true",
    },
}


def write_data(folder: Path) -> None:
    """Six samples of two picture sizes, of which every other has a much longer answer."""
    rows = []
    for index in range(6):
        size = (56, 56 + 28 * (index % 2))
        Image.new("RGB", size, (40 * index, 0, 0)).save(folder / f"{index}.png")
        turn = Turn("Where?", targets=(Target("it", box=(4, 4, 30 + index, 40)),))
        if index % 2:
            turn = Turn("What is it?", answer="A long story. " * 12)
        task = Task.GENERAL if index % 2 else Task.BOX
        rows.append(GroundingSample(str(index), task, (f"{index}.png",), size, (turn,)))
    write_samples(folder / "samples.jsonl", rows)


def ground(data: Path, run: Path, world: World, poisoned_rank: int = -1) -> St4vlaPolicy:
    checkpoint = init_checkpoint("tiny", 3)
    policy = checkpoint.policy
    samples = GroundingSet(data / "samples.jsonl", data, checkpoint.tokenizer)
    order = MixtureOrder([6], [1.0], seed=0)
    objective = GroundingObjective(policy, [samples], order, batch_size=4, processes=world.processes)

    class Poisoned:
        def losses(self, step: int) -> Mapping[str, Tensor]:
            losses = objective.losses(step)
            bad = step == 1 and world.processes.rank == poisoned_rank
            return {name: loss * float("nan") if bad else loss for name, loss in losses.items()}

    groups = parameter_groups(policy, rate=0.2, rates={}, frozen=FROZEN)
    # AdamW would blow the last bit of a gradient that is nearly zero up to the whole rate.
    train(policy, torch.optim.SGD(groups, lr=0.2, momentum=0.9), Poisoned(), STEPS, run, world=world)
    return policy


def work(folder: Path) -> None:
    """Be one of the processes, first with the gradient averaged, then with the parameters sharded as well."""
    torch.set_num_threads(1)
    for name, environment in MODES.items():
        os.environ.update(environment)
        AcceleratorState._reset_state()
        world = join_world()
        for run in ("begun", "gone_on"):
            policy = ground(folder, folder / name / run, world)
            kinds = {isinstance(parameter, DTensor) for parameter in policy.parameters()}
            assert kinds == {bool(environment)}
        try:
            ground(folder, folder / name / "poisoned", world, poisoned_rank=1)
        except TrainingError as error:
            (folder / name / f"error_{world.processes.rank}.txt").write_text(str(error))
    leave_together(0)


def launch(folder: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, __file__, str(folder)]
    with ExitStack() as stack:
        started = []
        for rank in range(2):
            environment = {**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
            process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
        errors = [process.communicate(timeout=200)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(errors)


def curve(run: Path) -> list[tuple[float, float]]:
    """Return the loss and the norm of the gradient of each step."""
    rows = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [(row["loss"], row["gradient_norm"]) for row in rows]


def assert_alike(run: Path, whole: Path) -> None:
    np.testing.assert_allclose(curve(run), curve(whole), rtol=1e-5)
    weights, expected = (load_file(folder / "step_00000004" / "model.safetensors") for folder in (run, whole))
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: name + text)
    moments, others = (
        torch.load(folder / "step_00000004" / "optimiser.pt", weights_only=True) for folder in (run, whole)
    )
    assert moments["param_groups"] == others["param_groups"]
    assert moments["state"].keys() == others["state"].keys()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process did under ``whole``, and two under the names of `MODES`."""
    folder = tmp_path_factory.mktemp("world")
    write_data(folder)
    ground(folder, folder / "whole", World())
    for name in MODES:
        ignored = shutil.ignore_patterns("step_00000004")
        shutil.copytree(folder / "whole", folder / name / "gone_on", ignore=ignored)
    launch(folder)
    return folder


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_take_the_steps_of_one(folder: Path, mode: str) -> None:
    assert curve(folder / "whole")[-1] < curve(folder / "whole")[0]
    assert_alike(folder / mode / "begun", folder / "whole")


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_go_on_from_a_state_of_one_and_one_from_a_state_of_two(folder: Path, mode: str) -> None:
    assert_alike(folder / mode / "gone_on", folder / "whole")
    ignored = shutil.ignore_patterns("step_00000004")
    shutil.copytree(folder / mode / "begun", folder / mode / "alone", ignore=ignored)
    ground(folder, folder / mode / "alone", World())
    assert_alike(folder / mode / "alone", folder / "whole")


@pytest.mark.parametrize("mode", MODES)
def test_a_loss_that_is_not_finite_in_one_process_stops_all_with_one_error(folder: Path, mode: str) -> None:
    first, second = ((folder / mode / f"error_{rank}.txt").read_text() for rank in range(2))
    assert first == second
    assert "step 1: the loss is {'grounding': nan} in process 1" in first
    assert len(curve(folder / mode / "poisoned")) == 1


if __name__ == "__main__":
    work(Path(sys.argv[1]))
