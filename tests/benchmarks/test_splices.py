import numpy as np
import pytest

from st4vla.benchmarks.splices import Executed, Jumps, Splices, compare, measure
from st4vla.runtime.policy import NullPolicy

PERIOD_NS = 100_000_000


def test_jumps_are_told_apart_by_whether_a_chunk_ends_in_them() -> None:
    actions = np.zeros((8, 7))
    # Two chunks, each speeding up by 0.01 m/s a period, with a step of 0.1 m/s between them.
    actions[:, 0] = (0.01 * np.arange(8) + 0.09 * (np.arange(8) >= 4)) * 0.1
    run = Executed(actions, np.array([1, 1, 1, 1, 2, 2, 2, 2]))
    velocity, acceleration = compare("replace", "translation", [run], PERIOD_NS)
    assert velocity.at_splices.largest == pytest.approx(0.1)
    assert velocity.inside.largest == pytest.approx(0.01)
    assert (velocity.at_splices.count, velocity.inside.count) == (1, 6)
    assert acceleration.at_splices.largest == pytest.approx(0.9)
    assert acceleration.inside.largest == pytest.approx(0.0, abs=1e-9)
    assert (acceleration.at_splices.count, acceleration.inside.count) == (2, 4)
    assert (velocity.unit, acceleration.unit) == ("m/s", "m/s2")


def test_only_real_time_chunking_is_held_to_the_bar() -> None:
    large, small = Jumps(1.0, 4.0, 5.0, 9), Jumps(1.0, 2.0, 3.0, 9)
    assert not Splices("replace", "translation", "velocity", "m/s", large, small).missed()
    assert not Splices("real_time", "translation", "velocity", "m/s", small, small).missed()
    assert Splices("real_time", "translation", "velocity", "m/s", large, small).missed() == [
        "velocity of translation jumps 2.00 times as far at splices, at most 1.5 was wanted"
    ]


def test_real_time_chunks_join_more_smoothly_than_replaced_ones_in_the_closed_loop() -> None:
    found = measure(Wavering(), [0], ticks=60, instruction="lift")
    steps = {each.mode: each for each in found if each.quantity == "velocity" and each.motion == "translation"}
    assert set(steps) == {"real_time", "ensemble", "replace"}
    assert all(each.at_splices.count > 10 for each in steps.values())
    assert steps["real_time"].at_splices.p99 < 0.6 * steps["replace"].at_splices.p99


class Wavering(NullPolicy):
    """Each of its chunks goes steadily one way, which the seed chooses, or where the prefix tells it to."""

    def act(self, views, plan, seed, splice=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        acted = super().act(views, plan, seed)
        acted.actions[:] = 0.01 * np.sign(acted.actions[0])
        if splice is not None and splice.prefix is not None and splice.weights is not None:
            acted.actions[:] += splice.weights[:, None] * (splice.prefix - acted.actions)
        return acted
