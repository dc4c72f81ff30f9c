import json
from pathlib import Path

import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.errors import UsageError
from st4vla.training.empty_policy import build_empty_policy
from st4vla.training.loop.estimate import Load, Machine, estimate
from st4vla.training.policy import St4vlaPolicy
from st4vla.training.presets import get_preset

PAGE = Path(__file__).parents[3] / "docs" / "multi_gpu.md"


def policy_of(name: str) -> St4vlaPolicy:
    preset = get_preset(name)
    return build_empty_policy(preset.model, preset.action.dim, preset.action.horizon, preset.sampler)


@pytest.fixture(scope="module")
def base() -> St4vlaPolicy:
    return policy_of("base")


def test_the_page_says_what_the_formulas_give(base: St4vlaPolicy) -> None:
    rows = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip(" *") for cell in line.split("|")[1:-1]]
        if len(cells) == 4:
            rows.setdefault(cells[0], cells[1:3])
    for column, (gpus, batch_size) in enumerate(((8, 128), (64, 1024))):
        found = estimate(base, gpus, Load(batch_size))
        assert rows["states"][column] == f"{found.states_gb:.2f} GB"
        assert rows["gathered"][column] == f"{found.gathered_gb:.2f} GB"
        assert rows["activations"][column] == f"{found.activations_gb:.2f} GB"
        assert rows["memory"][column] == f"{found.total_gb:.2f} GB"
        assert rows["traffic a step"][column] == f"{found.traffic_gb:.2f} GB"
        assert rows["work a step"][column] == f"{found.tflop:.1f} TFLOP"
        assert rows["step"][column] == f"{found.step_s[0]:.2f} to {found.step_s[1]:.2f} s"


def test_a_policy_has_the_parameters_of_qwen_s_3b_with_the_head_tied(base: St4vlaPolicy) -> None:
    assert estimate(base, 8, Load()).learning_parameters == 3_754_622_976


def test_one_gpu_exchanges_nothing_and_twice_as_many_hold_half(base: St4vlaPolicy) -> None:
    one, two = (estimate(base, gpus, Load(batch_size=16)) for gpus in (1, 2))
    assert one.traffic_gb == 0
    assert one.step_s[0] == one.step_s[1]
    assert two.states_gb == pytest.approx(one.states_gb / 2)
    assert two.activations_gb == pytest.approx(one.activations_gb / 2)


def test_time_follows_from_the_share_of_the_peak(base: St4vlaPolicy) -> None:
    slow, fast = (estimate(base, 8, Load(), Machine(utilisation=share)).compute_s for share in (0.2, 0.4))
    assert slow == pytest.approx(2 * fast)


def test_a_batch_that_does_not_divide_among_the_gpus_is_refused(base: St4vlaPolicy) -> None:
    with pytest.raises(UsageError, match="a batch of 100 for 8 GPUs; make it a multiple"):
        estimate(base, 8, Load(batch_size=100))


def test_the_command_says_that_nothing_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "estimate", "--preset", "tiny", "--gpus", "2"]) == 0
    out = capsys.readouterr().out
    assert "estimate, not measured" in out
    assert json.loads(out.splitlines()[-1])["measured"] is False
    assert main(["train", "estimate", "--gpus", "0"]) == 2
