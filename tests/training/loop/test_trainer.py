import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor, nn

from st4vla.contracts.errors import ManifestError, StorageError, TrainingError, UsageError
from st4vla.training.loop import states
from st4vla.training.loop.parameters import parameter_groups
from st4vla.training.loop.probes import Probe
from st4vla.training.loop.trainer import LoopConfig, make_optimiser, train

CONFIG = LoopConfig(steps=60, warmup_steps=5, floor=0.1, save_every=7, keep=2, seed=3, average_decay=0.9)


class Regression:
    """A network with dropout that learns a line from samples that follow from the step."""

    def __init__(self, model: nn.Module, pause_s: float = 0.0, poison: int = -1) -> None:
        self.model, self.pause_s, self.poison = model, pause_s, poison

    def losses(self, step: int) -> Mapping[str, Tensor]:
        time.sleep(self.pause_s)
        x = torch.randn(16, 4)
        error = (self.model(x) - x.sum(1, keepdim=True)).square().mean()
        if step == self.poison:
            error = error * float("nan")
        return {"error": error, "size": 0.01 * self.model(x).square().mean()}


def make() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 1))
    return model, make_optimiser(parameter_groups(model, rate=1e-2, rates={"3": 2e-2}))


def run(folder: Path, pause_s: float = 0.0, poison: int = -1) -> nn.Module:
    model, optimiser = make()
    train(model, optimiser, Regression(model, pause_s, poison), CONFIG, folder)
    return model


def curve(folder: Path) -> list[str]:
    return (folder / "metrics.jsonl").read_text().splitlines()


def steps_logged(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_a_run_learns_and_leaves_its_curve_and_its_newest_states(tmp_path: Path) -> None:
    run(tmp_path)
    lines = [json.loads(line) for line in curve(tmp_path)]
    assert [line["step"] for line in lines] == list(range(60))
    assert lines[-1]["error"] < 0.5 * lines[0]["error"]
    assert all(line["loss"] == pytest.approx(line["error"] + line["size"], rel=1e-5) for line in lines)
    assert max(line["rate_factor"] for line in lines) == 1
    assert sorted(path.name for path in tmp_path.glob("step_*")) == ["step_00000056", "step_00000060"]


def test_probes_measure_averaged_weights_now_and_then_and_change_nothing(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain").state_dict()
    model, optimiser = make()
    seen: list[Tensor] = []

    def measure() -> Mapping[str, float]:
        model.eval()
        torch.rand(3)
        seen.append(model[0].weight.detach().clone())
        return {"size_of_weight": float(seen[-1].norm())}

    train(model, optimiser, Regression(model), CONFIG, tmp_path / "probed", probes=[Probe(25, measure)])
    assert all(torch.equal(plain[name], value) for name, value in model.state_dict().items())
    lines = [json.loads(line) for line in curve(tmp_path / "probed")]
    assert [line["step"] for line in lines if "size_of_weight" in line] == [24, 49]
    state = states.newest_state(tmp_path / "probed")
    assert state is not None
    assert torch.equal(model[0].weight, states.load_averages(state)["0.weight"])
    with pytest.raises(UsageError, match="measuring every 0 steps"):
        Probe(0, measure)


def test_a_schedule_that_cannot_be_followed_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="warm-up of 4 steps in a run of 3"):
        LoopConfig(steps=3, warmup_steps=4)


def test_a_run_without_averages_cannot_go_on_with_them(tmp_path: Path) -> None:
    model, optimiser = make()
    config = msgspec.structs.replace(CONFIG, average_decay=0.0)
    train(model, optimiser, Regression(model), config, tmp_path)
    with pytest.raises(ManifestError, match="holds no averages"):
        run(tmp_path)


def test_what_a_run_learnt_is_loaded_into_another_model(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no state"):
        states.load_trained(tmp_path, make()[0])
    trained, other = run(tmp_path), make()[0]
    states.load_trained(tmp_path, other)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in trained.state_dict().items())


def test_a_run_that_is_done_takes_no_step(tmp_path: Path) -> None:
    weights = run(tmp_path).state_dict()
    before = curve(tmp_path)
    again = run(tmp_path).state_dict()
    assert curve(tmp_path) == before
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_run_that_is_killed_again_and_again_takes_the_same_steps_to_the_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole").state_dict()
    command = [sys.executable, __file__, str(tmp_path / "killed")]
    for steps in (9, 20, 43):
        with subprocess.Popen(command, env=os.environ) as process:
            while steps_logged(tmp_path / "killed") < steps:
                assert process.poll() is None
                time.sleep(0.003)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
    assert states.newest_state(tmp_path / "killed") == tmp_path / "killed" / "step_00000042"
    killed = run(tmp_path / "killed").state_dict()
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_its_states(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 30: the loss is .*nan.*; lower the learning rate"):
        run(tmp_path, poison=30)
    assert sorted(path.name for path in tmp_path.glob("step_*")) == ["step_00000021", "step_00000028"]


def test_a_full_disk_is_named_and_the_run_goes_on_from_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = curve_of_whole(tmp_path / "whole")
    saved = states.save_file

    def full(tensors: dict[str, Tensor], path: Path) -> None:
        if states.newest_state(tmp_path / "run") is not None:
            raise OSError(28, "No space left on device")
        saved(tensors, path)

    with monkeypatch.context() as patched:
        patched.setattr(states, "save_file", full)
        with pytest.raises(StorageError, match=r"step_00000014 could not be written: .*No space left.*run the same"):
            run(tmp_path / "run")
    assert [path.name for path in sorted((tmp_path / "run").iterdir())] == [
        "metrics.jsonl",
        "step_00000007",
        "tensorboard",
    ]
    run(tmp_path / "run")
    assert curve(tmp_path / "run") == whole


def curve_of_whole(folder: Path) -> list[str]:
    run(folder)
    return curve(folder)


def test_a_broken_state_is_passed_over_with_its_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path)
    (tmp_path / "step_00000060" / "model.safetensors").write_bytes(b"broken")
    assert states.newest_state(tmp_path) == tmp_path / "step_00000056"
    assert "step_00000060/model.safetensors was altered" in caplog.text


if __name__ == "__main__":
    run(Path(sys.argv[1]), pause_s=0.05)
