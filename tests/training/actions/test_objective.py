from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from st4vla.training.actions.demonstrations import Moment
from st4vla.training.actions.error import measure_action_error
from st4vla.training.actions.objective import ActionObjective, JointObjective
from st4vla.training.checkpoint import Checkpoint, init_checkpoint
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.loop.processes import Processes
from st4vla.training.model.diffusion import min_snr_weights

HORIZON, DIM = 16, 7


class Moments(Sequence[Moment]):  # type: ignore[misc]
    """Moments without a data set; the later ones end early."""

    def __init__(self, count: int, constant: float | None = None) -> None:
        generator = torch.Generator().manual_seed(count)
        self._moments = []
        for index in range(count):
            views = torch.randint(256, (2, 224, 224, 3), dtype=torch.uint8, generator=generator)
            actions = torch.rand(HORIZON, DIM, generator=generator) * 2 - 1
            if constant is not None:
                actions = torch.full((HORIZON, DIM), constant)
            mask = torch.arange(HORIZON) < HORIZON - 3 * index
            self._moments.append(Moment(views, f"do {'this ' * index}now", actions, mask))

    def __len__(self) -> int:
        return len(self._moments)

    def __getitem__(self, index: int) -> Moment:  # type: ignore[override]
        return self._moments[index]

    def chunk(self, index: int) -> tuple[object, object]:
        return self._moments[index].actions.numpy(), self._moments[index].mask.numpy()


@pytest.fixture
def checkpoint() -> Checkpoint:
    return init_checkpoint("tiny", 3)


def objective(checkpoint: Checkpoint, moments: Moments, **options: object) -> ActionObjective:
    settings: dict[str, object] = {"batch_size": 4, "seed": 5} | options
    order = MixtureOrder([len(moments)], [1.0], 0)
    return ActionObjective(
        checkpoint.policy, checkpoint.tokenizer, checkpoint.manifest.prompt, [moments], order, **settings
    )


def loss_of(checkpoint: Checkpoint, step: int = 0, **options: object) -> float:
    with torch.no_grad():
        return float(objective(checkpoint, Moments(4), **options).losses(step)["action"])


def test_a_steps_loss_follows_from_the_step_and_the_seed(checkpoint: Checkpoint) -> None:
    first = loss_of(checkpoint)
    torch.manual_seed(99)
    assert loss_of(checkpoint) == first
    assert loss_of(checkpoint, 1) != first
    assert loss_of(checkpoint, seed=6) != first
    assert loss_of(checkpoint, weight=0.25) == pytest.approx(first / 4)


def test_actions_past_an_episodes_end_teach_nothing(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    mean = Processes.mean

    def counting(self: Processes, total: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        counted.append(int(number))
        return mean(self, total, number)

    monkeypatch.setattr(Processes, "mean", counting)
    moments = Moments(4)
    with torch.no_grad():
        objective(checkpoint, moments, noise_draws=2).losses(0)
        for index in range(4):
            moments[index].mask[:] = False
        assert float(objective(checkpoint, moments).losses(0)["action"]) == 0
    assert counted == [2 * (16 + 13 + 10 + 7), 0]


def test_actions_that_are_shown_clean_teach_nothing(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(Processes, "mean", lambda self, total, number: counted.append(int(number)) or total)
    for max_delay in (0, 6):
        loss_of(checkpoint, max_delay=max_delay, noise_draws=8)
    assert 8 * 46 - 8 * 4 * 6 < counted[1] < counted[0] == 8 * 46


def test_parts_of_a_batch_add_up_to_it_in_loss_and_gradient(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = checkpoint.policy
    whole = objective(checkpoint, Moments(4), noise_draws=3, max_delay=4).losses(0)["action"]
    whole.backward()
    expected = {name: each.grad.clone() for name, each in policy.named_parameters() if each.grad is not None}
    policy.zero_grad()
    # Both parts see the number of actions of the whole batch, as an all-reduce would tell them.
    learnt: list[torch.Tensor] = []
    monkeypatch.setattr(Processes, "mean", lambda self, total, number: learnt.append(number) or total)
    shares = []
    for rank in range(2):
        part = objective(checkpoint, Moments(4), noise_draws=3, max_delay=4, processes=Processes(rank, 2))
        shares.append(part.losses(0)["action"])
    total = sum(shares) / sum(learnt)
    total.backward()
    assert total.item() == pytest.approx(whole.item(), rel=1e-5)
    for name, gradient in expected.items():
        found = dict(policy.named_parameters())[name].grad
        assert found is not None
        torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-6)


def test_several_noises_share_one_plan(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = []
    plan = type(checkpoint.policy).plan
    monkeypatch.setattr(
        type(checkpoint.policy), "plan", lambda self, *arguments: plans.append(1) or plan(self, *arguments)
    )
    once, often = loss_of(checkpoint), loss_of(checkpoint, noise_draws=8)
    assert len(plans) == 2
    assert once != often


def test_timesteps_are_weighed_by_their_noise(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def errors(model: object, actions: Tensor, t: Tensor, *rest: object) -> Tensor:
        seen.append(t)
        return torch.ones(actions.shape[:2])

    monkeypatch.setattr("st4vla.training.actions.objective.diffusion_errors", errors)
    assert loss_of(checkpoint, noise_draws=3) == 1
    weighed = loss_of(checkpoint, noise_draws=3, min_snr=0.1)
    mask = torch.stack([moment.mask for moment in Moments(4)])
    rows = MixtureOrder([4], [1.0], 0).batch(0, 4)
    learnt = mask[[draw.sample for draw in rows]].sum(dim=1).repeat(3)
    expected = (min_snr_weights(0.1)[seen[0]] * learnt).sum() / learnt.sum()
    assert weighed == pytest.approx(float(expected), rel=1e-5)
    assert weighed < 1


def test_a_joint_step_has_the_losses_of_all(checkpoint: Checkpoint) -> None:
    class Other:
        def losses(self, step: int) -> dict[str, torch.Tensor]:
            return {"other": torch.tensor(float(step))}

    joint = JointObjective([objective(checkpoint, Moments(4)), Other()])
    with torch.no_grad():
        losses = joint.losses(2)
    assert set(losses) == {"action", "other"}
    assert losses["other"] == 2


def test_the_action_error_stands_beside_that_of_the_mean_chunk(checkpoint: Checkpoint) -> None:
    moments = Moments(4, constant=0.5)
    guess = torch.full((HORIZON, DIM), 0.3).numpy()
    found = measure_action_error(
        checkpoint.policy, checkpoint.tokenizer, checkpoint.manifest.prompt, [(moments, guess)], count=9, seed=0
    )
    assert found.moments == 4
    assert found.mean_chunk_squared == pytest.approx(0.04, rel=1e-4)
    assert found.mean_chunk_absolute == pytest.approx(0.2, rel=1e-4)
    assert found.squared_ratio == pytest.approx(found.squared / 0.04, rel=1e-4)
    again = measure_action_error(
        checkpoint.policy, checkpoint.tokenizer, checkpoint.manifest.prompt, [(moments, guess)], count=9, seed=0
    )
    assert again == found
