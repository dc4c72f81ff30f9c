"""Tests of the noise schedule against the reference implementation's."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.ddim import alphas_cumprod, betas, ddim_steps, sampling_timesteps

GOLDEN_PATH = Path(__file__).parents[1] / "data" / "golden" / "internvla_tiny.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN_PATH) as archive:
        return {name: archive[name] for name in archive.files if name.startswith("sched/")}


def test_the_schedule_is_that_of_the_reference(golden: dict[str, Any]) -> None:
    np.testing.assert_allclose(betas(), golden["sched/betas"], rtol=0, atol=1e-15)
    np.testing.assert_allclose(alphas_cumprod(), golden["sched/alphas_cumprod"], rtol=0, atol=1e-15)


@pytest.mark.parametrize("num_steps", [*range(1, 11), 12, 20])
def test_timestep_subsets_are_those_of_the_reference(golden: dict[str, Any], num_steps: int) -> None:
    steps = sampling_timesteps(num_steps)
    assert list(steps) == golden[f"sched/ddim{num_steps}_map"].tolist()
    reference = golden[f"sched/ddim{num_steps}_alphas_cumprod"]
    np.testing.assert_allclose([alphas_cumprod()[step] for step in steps], reference, rtol=0, atol=1e-15)


def test_steps_go_from_noise_to_actions_and_each_begins_where_the_last_one_ended() -> None:
    steps = ddim_steps(10)
    assert [step.timestep for step in steps] == [90, 80, 70, 60, 50, 40, 30, 20, 10, 0]
    for step, following in pairwise(steps):
        assert step.coefficients.next_signal == pytest.approx(1 / following.coefficients.signal, rel=1e-14)
    assert (steps[-1].coefficients.next_signal, steps[-1].coefficients.next_noise) == (1.0, 0.0)


def test_a_step_count_without_a_whole_stride_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(ValueError, match="no whole stride gives 11 steps of 100") as refusal:
        sampling_timesteps(11)
    assert str(refusal.value).endswith("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 17, 20, 25, 34, 50, 100")
