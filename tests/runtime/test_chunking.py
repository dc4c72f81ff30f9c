import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from st4vla.runtime.chunking import ChunkingConfig, Splice, Timeline, ensemble, prefix_weights

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "golden" / "internvla_tiny.npz")
HORIZON, PERIOD = 16, 50


def timeline(**config: object) -> Timeline:
    return Timeline(HORIZON, PERIOD, ChunkingConfig(**config))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "window"), [("post/ens_out_h7_a0.1", 7), ("post/ens_out_h2_a0.1", 2)])
def test_ensembles_are_those_of_the_reference(name: str, window: int) -> None:
    line = timeline(mode="ensemble", ensemble_window=window)
    for step, (chunk, expected) in enumerate(zip(GOLDEN["post/ens_in"], GOLDEN[name], strict=True)):
        splice = line.splice(step * PERIOD, 0)
        assert splice.start_ns == step * PERIOD
        ours = line.add(splice, chunk.astype(np.float32))
        np.testing.assert_allclose(ours[0], expected, rtol=1e-5, atol=1e-6)


def test_an_ensemble_of_one_is_that_one() -> None:
    only = np.arange(7, dtype=np.float32)[None]
    np.testing.assert_array_equal(ensemble(only, 0.1), only[0])


@given(st.integers(1, 40), st.data())
def test_weights_begin_firm_fall_and_end_free(horizon: int, data: st.DataObject) -> None:
    left = data.draw(st.integers(0, horizon))
    frozen = data.draw(st.integers(0, left))
    weights = prefix_weights(horizon, frozen, left)
    assert weights.dtype == np.float32
    assert (weights[:frozen] == 1).all()
    assert (np.diff(weights) <= 0).all()
    assert ((weights[frozen:left] > 0) & (weights[frozen:left] < 1)).all()
    assert not weights[left:].any()


def test_weights_are_those_of_the_papers_equation() -> None:
    weights = prefix_weights(10, 2, 7)
    c = np.array([(7 - i) / (7 - 2 + 1) for i in range(2, 7)])
    np.testing.assert_allclose(weights[2:7], c * (np.exp(c) - 1) / (np.e - 1), rtol=1e-6)


def test_a_frame_beyond_the_last_chunk_or_before_it_begins_a_new_grid() -> None:
    line = timeline()
    line.add(Splice(1000), np.ones((HORIZON, 7), np.float32))
    late = 1000 + HORIZON * PERIOD
    assert line.splice(late, 0) == Splice(late)
    assert line.splice(900, 0) == Splice(900), "a clock that stepped back"


def test_what_is_frozen_covers_the_delay_and_no_more() -> None:
    line = timeline()
    line.add(Splice(0), np.arange(HORIZON * 7, dtype=np.float32).reshape(HORIZON, 7))
    for delay_ns, frozen in ((0, 1), (49, 1), (50, 2), (149, 3), (10**9, HORIZON - 1)):
        splice = line.splice(PERIOD, delay_ns)
        assert splice.frozen_steps == frozen
        assert splice.prefix is not None
        np.testing.assert_array_equal(splice.prefix[:15, 0], np.arange(1, 16) * 7)


class Follower:
    """A sampler as DDIM with a prefix is at its last step: x0 drawn to the prefix, towards a goal that jumps."""

    def __call__(self, goal: float, splice: Splice, position: float) -> np.ndarray:
        steps = np.arange(1, HORIZON + 1)
        wanted = position + (goal - position) * steps / HORIZON
        velocity = np.diff(wanted, prepend=position).astype(np.float32)[:, None]
        if splice.prefix is None or splice.weights is None:
            return velocity
        return velocity + splice.weights[:, None] * (splice.prefix - velocity)


def executed(mode: str, delay_steps: int) -> np.ndarray:
    """Velocities that a robot executes whose policy changes its mind every other chunk; chunks arrive late."""
    line, follower = timeline(mode=mode), Follower()
    velocities: list[float] = []
    chunks: list[tuple[int, int, np.ndarray]] = []
    for step in range(60):
        if step % 4 == 0:
            splice = line.splice(step * PERIOD, delay_steps * PERIOD - 1)
            goal = 10.0 if (step // 4) % 2 else -10.0
            actions = line.add(splice, follower(goal, splice, sum(velocities)))
            chunks.append((step + delay_steps, splice.start_ns // PERIOD, actions))
        known = [chunk for chunk in chunks if chunk[0] <= step]
        if known:
            _, start, actions = known[-1]
            velocities.append(float(actions[step - start, 0]))
        else:
            velocities.append(0.0)
    return np.array(velocities[8:])


@pytest.mark.parametrize("delay_steps", [1, 2, 3])
def test_real_time_chunks_do_not_jump_at_the_splice_where_plain_ones_do(delay_steps: int) -> None:
    smooth, plain = executed("real_time", delay_steps), executed("replace", delay_steps)
    # Velocity: no step is larger than what the soft weights allow of the change of mind; the plain one takes all of it.
    jump, plain_jump = np.abs(np.diff(smooth)).max(), np.abs(np.diff(plain)).max()
    assert jump < 0.45 * plain_jump
    # Acceleration, its derivative, is bounded with it.
    assert np.abs(np.diff(smooth, 2)).max() < 0.45 * np.abs(np.diff(plain, 2)).max()


def test_at_the_splice_itself_what_runs_goes_on_exactly() -> None:
    line, follower = timeline(), Follower()
    first = line.add(Splice(0), follower(10.0, Splice(0), 0.0))
    splice = line.splice(4 * PERIOD, 2 * PERIOD)
    second = line.add(splice, follower(-10.0, splice, 4.0))
    assert splice.frozen_steps == 3
    np.testing.assert_array_equal(second[:3], first[4:7])


def test_configurations_that_mean_nothing_are_refused() -> None:
    for bad in ({"delay_margin": -1.0}, {"ensemble_window": 0}, {"ensemble_sharpness": float("nan")}):
        with pytest.raises(ValueError, match="must be 0 or more"):
            ChunkingConfig(**bad)


def test_a_window_of_chunks_is_all_that_is_kept() -> None:
    line = timeline(mode="ensemble", ensemble_window=3)
    for step in itertools.islice(itertools.count(), 20):
        line.add(line.splice(step * PERIOD, 0), np.zeros((HORIZON, 7), np.float32))
    assert len(line._sent) == 3
