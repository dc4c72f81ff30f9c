import numpy as np

from st4vla.contracts.messages import ActionChunk, ActionRepresentation
from st4vla.contracts.staleness import AgeBounds, Pace, Staleness
from st4vla.runtime.player import Player

ACTIONS = np.arange(1, 29, dtype=np.float32).reshape(4, 7)


def chunk(sequence: int = 1, *, start_ns: int = 1000, capture_ns: int = 1000, **fields: object) -> ActionChunk:
    return ActionChunk(
        chunk_id=sequence,
        actions=ACTIONS,
        period_ns=100,
        representation=ActionRepresentation.EE_DELTA,
        gripper_index=6,
        observation_sequence=sequence,
        observation_sent_ns=0,
        frame_capture_ns=capture_ns,
        start_ns=start_ns,
        plan_id=1,
        plan_capture_ns=capture_ns,
        seed=0,
        received_ns=0,
        inference_ns=1,
        **fields,  # type: ignore[arg-type]
    )


def test_nothing_is_due_before_a_chunk_and_after_its_last_action() -> None:
    player = Player(Staleness())
    assert player.due(0).pace is Pace.HOLD
    player.take(chunk())
    assert player.due(1400).pace is Pace.HOLD
    assert player.due(900).action is None


def test_each_action_is_due_at_its_time() -> None:
    player = Player(Staleness())
    player.take(chunk())
    for index in range(4):
        due = player.due(1000 + 100 * index + 3)
        assert (due.pace, due.index, due.chunk_id) == (Pace.RUN, index, 1)
        np.testing.assert_array_equal(due.action, ACTIONS[index])


def test_a_chunk_that_is_overtaken_on_the_way_is_let_go() -> None:
    player = Player(Staleness())
    player.take(chunk(2))
    player.take(chunk(1))
    assert player.due(1000).chunk_id == 2


def test_age_slows_the_arm_but_not_its_gripper_then_holds_then_stops_for_good() -> None:
    player = Player(Staleness(AgeBounds(100, 200, 1000)))
    player.take(chunk())
    slow = player.due(1110)
    assert slow.pace is Pace.SLOW
    np.testing.assert_array_equal(slow.action, [*(ACTIONS[1, :6] / 2), ACTIONS[1, 6]])
    assert player.due(1210).pace is Pace.HOLD
    assert player.due(2000).pace is Pace.STOP
    player.take(chunk(2, start_ns=2000, capture_ns=2000))
    assert player.due(2000).pace is Pace.STOP, "only the operator ends a stop"
    player.resume()
    assert player.due(2000).pace is Pace.HOLD
    player.take(chunk(3, start_ns=2100, capture_ns=2100))
    assert player.due(2100).pace is Pace.RUN


def test_what_is_slowed_down_already_is_not_slowed_down_twice() -> None:
    player = Player(Staleness(AgeBounds(100, 0, 0)))
    player.take(chunk(pace=Pace.SLOW))
    due = player.due(1110)
    assert due.pace is Pace.SLOW
    np.testing.assert_array_equal(due.action, ACTIONS[1])
    assert player.due(1000).pace is Pace.SLOW
