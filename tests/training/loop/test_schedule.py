from itertools import pairwise

import pytest

from st4vla.contracts.errors import UsageError
from st4vla.training.loop.schedule import cosine_with_floor


def factors(warmup_steps: int, total_steps: int, floor: float) -> list[float]:
    return [
        cosine_with_floor(step, warmup_steps=warmup_steps, total_steps=total_steps, floor=floor)
        for step in range(total_steps + 2)
    ]


def test_the_rate_rises_to_its_peak_and_falls_to_its_floor_and_stays() -> None:
    found = factors(4, 20, 0.1)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(before > after for before, after in pairwise(found[4:20]))
    assert found[19:] == pytest.approx([0.1, 0.1, 0.1])


def test_halfway_down_the_factor_is_halfway() -> None:
    assert factors(0, 11, 0.2)[5] == pytest.approx(0.6)


def test_a_run_of_one_step_has_the_peak() -> None:
    assert factors(0, 1, 0.0)[0] == 1.0


@pytest.mark.parametrize(("warmup_steps", "floor"), [(10, 0.0), (-1, 0.0), (2, 1.5)])
def test_a_schedule_that_cannot_be_is_refused(warmup_steps: int, floor: float) -> None:
    with pytest.raises(UsageError, match="must be shorter than the run"):
        cosine_with_floor(0, warmup_steps=warmup_steps, total_steps=10, floor=floor)
