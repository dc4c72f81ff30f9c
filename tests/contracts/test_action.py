import numpy as np
import pytest

from st4vla.contracts.action import ActionNormalizer, ActionSpec, ActionStatistics, NormalizationMode
from st4vla.contracts.messages import ActionRepresentation

M = NormalizationMode


def spec(modes: tuple[NormalizationMode, ...], gripper_index: int | None = None) -> ActionSpec:
    names = tuple(f"d{index}" for index in range(len(modes)))
    return ActionSpec(names, modes, gripper_index, ActionRepresentation.EE_DELTA, horizon=4, period_ns=50_000_000)


def statistics(dim: int) -> ActionStatistics:
    return ActionStatistics(
        q01=(-2.0,) * dim, q99=(4.0,) * dim, min=(-10.0,) * dim, max=(20.0,) * dim, mean=(1.0,) * dim, std=(0.5,) * dim
    )


def test_each_dimension_follows_its_own_mode() -> None:
    normalizer = ActionNormalizer(spec((M.QUANTILE, M.MIN_MAX, M.MEAN_STD, M.BINARY, M.IDENTITY), 3), statistics(5))
    np.testing.assert_allclose(normalizer.normalize([4.0, 20.0, 2.0, 0.7, 3.0]), [1.0, 1.0, 2.0, 1.0, 3.0])
    np.testing.assert_allclose(normalizer.unnormalize([1.0, -1.0, 2.0, 0.49, 3.0]), [4.0, -10.0, 2.0, 0.0, 3.0])


def test_normalizing_and_back_returns_every_action_inside_the_range() -> None:
    normalizer = ActionNormalizer(spec((M.QUANTILE, M.MIN_MAX, M.MEAN_STD)), statistics(3))
    actions = np.random.default_rng(0).uniform(-2, 4, (7, 5, 3))
    np.testing.assert_allclose(normalizer.unnormalize(normalizer.normalize(actions)), actions, atol=1e-12)


def test_outputs_beyond_one_never_leave_the_range() -> None:
    normalizer = ActionNormalizer(spec((M.QUANTILE, M.MIN_MAX)), statistics(2))
    np.testing.assert_allclose(normalizer.unnormalize([[50.0, -50.0]]), [[4.0, -10.0]])


def test_a_dimension_that_never_varied_gives_its_constant() -> None:
    constant = ActionStatistics(q01=(3.0,), q99=(3.0,), min=(3.0,), max=(3.0,), mean=(3.0,), std=(0.0,))
    normalizer = ActionNormalizer(spec((M.QUANTILE,)), constant)
    assert normalizer.normalize([3.0]) == [0.0]
    assert normalizer.unnormalize([0.7]) == [3.0]


def test_shapes_and_lengths_that_do_not_fit_are_refused() -> None:
    normalizer = ActionNormalizer(spec((M.IDENTITY, M.IDENTITY)), statistics(2))
    with pytest.raises(ValueError, match=r"actions must be \[..., 2\]; got \[3\]"):
        normalizer.normalize([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"'q01' has 2 entries; the action has 1 dimensions"):
        ActionNormalizer(spec((M.IDENTITY,)), statistics(2))
    with pytest.raises(ValueError, match=r"gripper_index 2 is not one of the 2 dimensions"):
        spec((M.IDENTITY, M.BINARY), gripper_index=2)
