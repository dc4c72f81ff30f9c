import numpy as np
import pytest

from st4vla.benchmarks.serving import frame_age, reaction, round_trip, servers
from st4vla.benchmarks.serving.streams import Stream
from st4vla.contracts.errors import ServerUnreachableError
from st4vla.contracts.messages import ActionChunk, ActionRepresentation

MS = 1_000_000


def chunk(captured_ms: int, frozen_steps: int = 0) -> ActionChunk:
    return ActionChunk(
        chunk_id=1,
        actions=np.zeros((16, 7), np.float32),
        period_ns=50 * MS,
        representation=ActionRepresentation.EE_DELTA,
        gripper_index=6,
        observation_sequence=1,
        observation_sent_ns=0,
        frame_capture_ns=captured_ms * MS,
        start_ns=captured_ms * MS,
        plan_id=1,
        plan_capture_ns=0,
        seed=0,
        received_ns=0,
        inference_ns=1,
        frozen_steps=frozen_steps,
    )


def test_every_side_of_the_round_trip_answers() -> None:
    found = round_trip.measure(turns=1)
    others = ["ours, over TCP", "ours, over TCP, Python's client", "raw echo", "raw, short reply", "websocket", "rep"]
    assert [side.name for side in found.sides] == ["ours", *others]
    assert all(len(side.times_ms) == round_trip.ROUNDS for side in found.sides)
    assert found.ratio("ours") == 1


def test_bars_are_held_against_the_median() -> None:
    sides = [round_trip.Side(name, (1.0, 1.0, 100.0)) for name in ("raw echo", "websocket", "rep")]
    assert round_trip.RoundTrips((round_trip.Side("ours", (0.3,)), *sides)).missed() == []
    assert [
        line.split(" as long as ")[1]
        for line in round_trip.RoundTrips((round_trip.Side("ours", (0.5,)), *sides)).missed()
    ] == [
        "websocket, at most 0.4 was wanted",
        "rep, at most 0.4 was wanted",
    ]


def test_frames_behind_chunks_are_never_older_than_two_periods() -> None:
    for clients in (1, 4):
        found = frame_age.measure(clients, seconds=1.5)
        assert len(found.ages_ms) > 5
        assert min(found.ages_ms) >= frame_age.ACT_MS
    assert frame_age.FrameAges(1, (50.0, 101.0), 0).missed()
    assert not frame_age.FrameAges(1, (50.0, 99.0), 0).missed()
    assert frame_age.FrameAges(1, (50.0,), 1).missed()


def test_a_reaction_ends_with_the_first_action_that_was_not_decided_before() -> None:
    # Frames each 100 ms; chunks arrive 30 ms later and two actions of 50 ms are frozen.
    stream = Stream([(chunk(at, 2), (at + 30) * MS) for at in range(0, 3000, 100)])
    times = reaction._reactions_ms(stream, np.random.default_rng(0))
    assert min(times) >= 100
    assert max(times) <= 200 + 1e-6
    loose = Stream([(chunk(at), (at + 30) * MS) for at in range(0, 3000, 100)])
    assert max(reaction._reactions_ms(loose, np.random.default_rng(0))) <= 150 + 1e-6, "not before it has arrived"


def test_a_stream_that_is_too_short_is_refused() -> None:
    stream = Stream([(chunk(at), (at + 30) * MS) for at in range(0, 500, 100)])
    with pytest.raises(ValueError, match="stream for longer"):
        reaction._reactions_ms(stream, np.random.default_rng(0))


def test_arrays_survive_both_encodings() -> None:
    message = {"picture": np.arange(24, dtype=np.uint8).reshape(2, 4, 3), "prompt": "lift"}
    for found in (servers.unpacked(servers.packed(message)), servers.unpacked_files(servers.packed_files(message))):
        np.testing.assert_array_equal(found["picture"], message["picture"])
        assert found["prompt"] == "lift"


def test_a_server_that_ends_at_once_is_named() -> None:
    with pytest.raises(ServerUnreachableError, match="'nonsense' ended with status 2"), servers.serving("nonsense"):
        pass
