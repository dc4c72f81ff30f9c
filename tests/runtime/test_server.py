import time
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
import simplejpeg
import zmq
from msgspec.structs import replace

from st4vla.contracts import wire_table as table
from st4vla.contracts.clock import NS_PER_S, monotonic_ns
from st4vla.contracts.errors import PromptError
from st4vla.contracts.messages import (
    ActionChunk,
    ErrorCode,
    ErrorReply,
    Health,
    ImageEncoding,
    Message,
    Observation,
    Plan,
    PlanReason,
    View,
)
from st4vla.contracts.wire import checksum, decode, encode
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.client import Client
from st4vla.runtime.core import Core
from st4vla.runtime.diagnosis import CACHE_NS
from st4vla.runtime.noise import seeded_noise
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Policy, Views
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.server import Server

SIZE = 28
CRC_OFFSET = next(offset for field, offset in table.HEADER.offsets if field.name == "crc32c")


class Grumpy(NullPolicy):
    """Refuses one instruction and returns NaN for one seed."""

    def plan(self, views: Views, instruction: str) -> PlanTensors:
        if instruction == "bad":
            msg = "cannot be planned"
            raise PromptError(msg)
        return super().plan(views, instruction)

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        acted = super().act(views, plan, seed, splice)
        if seed == 13:
            acted.actions[2, 1] = np.nan
        if seed == 14:
            raise ZeroDivisionError
        return acted


def serve(policy: Policy, **config: Any) -> Server:
    return Server(Core(policy, SchedulingConfig(**config)), "tcp://127.0.0.1:*")


@pytest.fixture
def server() -> Iterator[Server]:
    running = serve(Grumpy(image_size=SIZE), max_clients=2)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.endpoint) as connected:
        yield connected


def observation(
    client: Client, size: int = SIZE, names: tuple[str, ...] = ("agentview", "wrist"), **fields: object
) -> Observation:
    pixels = np.zeros((size, size, 3), np.uint8)
    views = tuple(View.from_pixels(name, pixels, monotonic_ns()) for name in names)
    return Observation(client.next_sequence(), views, **({"instruction": "lift"} | fields))  # type: ignore[arg-type]


PASSED_BY: WeakKeyDictionary[Client, list[Message]] = WeakKeyDictionary()


def await_message(client: Client, wanted: Callable[[Message], bool], timeout_s: float = 5.0) -> Message:
    """Return the next message that is wanted; a plan's notice and its chunk may come in either order."""
    passed_by = PASSED_BY.setdefault(client, [])
    for index, message in enumerate(passed_by):
        if wanted(message):
            return passed_by.pop(index)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for message in client.receive(0.05):
            if wanted(message):
                return message
            passed_by.append(message)
    pytest.fail("the message did not come")


def post(client: Client, what: Observation) -> None:
    """Send, though the socket may be full for a moment after the message before."""
    deadline = time.monotonic() + 5.0
    while not client.send(what):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def is_chunk(message: Message) -> bool:
    return isinstance(message, ActionChunk)


def is_error(message: Message) -> bool:
    return isinstance(message, ErrorReply)


def test_an_observation_is_answered_with_a_chunk_that_knows_its_age(client: Client) -> None:
    welcome = client.hello()
    assert [(view.name, view.height) for view in welcome.views] == [("agentview", SIZE), ("wrist", SIZE)]
    sent = observation(client, seed=5, wants_plans=True)
    post(client, sent)
    plan = await_message(client, lambda message: isinstance(message, Plan))
    assert isinstance(plan, Plan)
    assert plan.reason is PlanReason.FIRST
    await_message(client, is_chunk)
    post(client, second := observation(client, seed=5, fresh=True))
    chunk = await_message(client, lambda m: isinstance(m, ActionChunk) and m.observation_sequence == second.sequence)
    assert isinstance(chunk, ActionChunk)
    assert (chunk.frame_capture_ns, chunk.plan_capture_ns) == (second.capture_ns, sent.capture_ns)
    assert chunk.plan_age_ns - chunk.frame_age_ns == second.capture_ns - sent.capture_ns > 0
    assert chunk.frame_age_ns > 0
    np.testing.assert_array_equal(chunk.actions, seeded_noise(5, 16, 7)[0])
    assert client.clock_offset is not None
    assert abs(client.clock_offset.offset_ns) <= client.clock_offset.error_bound_ns


@pytest.mark.parametrize(
    ("size", "names", "match"),
    [
        (32, ("agentview", "wrist"), "'agentview' is 32 x 32 pixels; this bundle takes 28 x 28"),
        (SIZE, ("agentview",), "this bundle takes 2"),
        (SIZE, ("agentview", "left"), "takes 2: ['agentview', 'wrist']"),
        (SIZE, ("wrist", "wrist"), "takes 2"),
    ],
)
def test_views_that_do_not_fit_are_refused_and_the_next_ones_served(
    client: Client, size: int, names: tuple[str, ...], match: str
) -> None:
    post(client, observation(client, size, names))
    error = await_message(client, is_error)
    assert isinstance(error, ErrorReply)
    assert error.code is ErrorCode.OBSERVATION
    assert match in error.message
    post(client, observation(client))
    await_message(client, is_chunk)


def test_foreign_truncated_and_many_part_messages_are_refused_and_others_served(server: Server, client: Client) -> None:
    context = zmq.Context()
    with context.socket(zmq.DEALER) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(server.endpoint)
        good = bytes(encode(observation(client)))
        for parts, code in (
            ([b"GET / HTTP/1.1"], ErrorCode.FOREIGN_MESSAGE),
            ([good[:-5]], ErrorCode.TRUNCATED_MESSAGE),
            ([good[:-1] + b"\1"], ErrorCode.CHECKSUM),
            ([good, b"more"], ErrorCode.TRUNCATED_MESSAGE),
            ([b""], ErrorCode.FOREIGN_MESSAGE),
            ([bytes(encode(Plan(1, 1, 1, 1, 1, PlanReason.FIRST)))], ErrorCode.UNEXPECTED_KIND),
        ):
            stranger.send_multipart(parts)
            assert stranger.poll(2000)
            reply = decode(stranger.recv())
            assert isinstance(reply, ErrorReply)
            assert reply.code is code
    context.term()
    post(client, observation(client))
    await_message(client, is_chunk)


def test_nan_is_withheld_and_named(client: Client) -> None:
    post(client, observation(client, seed=13))
    error = await_message(client, is_error)
    assert isinstance(error, ErrorReply)
    assert error.code is ErrorCode.UNSAFE_OUTPUT
    assert "nan in action 2, dimension 1" in error.message


def test_a_policy_that_throws_what_nobody_expects_costs_one_chunk_and_tells_strangers_nothing(client: Client) -> None:
    post(client, observation(client, seed=14))
    error = await_message(client, is_error)
    assert isinstance(error, ErrorReply)
    assert error.code is ErrorCode.INTERNAL
    assert error.message == "the policy failed with ZeroDivisionError; the server's log says more"
    post(client, observation(client))
    await_message(client, is_chunk)


def test_a_mistake_behind_the_policy_costs_one_chunk(server: Server, client: Client) -> None:
    post(client, observation(client))
    await_message(client, is_chunk)
    unnormalize = server.core._policy.unnormalize
    server.core._policy.unnormalize = None  # type: ignore[method-assign, assignment]
    post(client, observation(client))
    error = await_message(client, is_error)
    assert isinstance(error, ErrorReply)
    assert error.code is ErrorCode.INTERNAL
    server.core._policy.unnormalize = unnormalize  # type: ignore[method-assign]
    post(client, observation(client))
    await_message(client, is_chunk)


def test_a_mistake_where_messages_are_taken_in_costs_one_message(server: Server, client: Client) -> None:
    welcome = server.core.welcome
    server.core.welcome = None  # type: ignore[method-assign, assignment]
    client.greet()
    error = await_message(client, is_error)
    assert isinstance(error, ErrorReply)
    assert (error.code, error.message) == (ErrorCode.INTERNAL, "the server failed with TypeError")
    server.core.welcome = welcome  # type: ignore[method-assign]
    assert client.hello().horizon == 16


def test_a_thread_of_ours_that_fails_goes_on(server: Server, client: Client) -> None:
    take = server.core.scheduler.take_plan_job
    server.core.scheduler.take_plan_job = None  # type: ignore[method-assign, assignment]
    post(client, observation(client))
    while not server.core.counts["internal_errors"]:
        time.sleep(0.01)
    server.core.scheduler.take_plan_job = take  # type: ignore[method-assign]
    await_message(client, is_chunk)


def test_an_instruction_that_cannot_be_planned_is_answered(client: Client) -> None:
    post(client, observation(client, instruction="bad"))
    error = await_message(client, is_error)
    assert isinstance(error, ErrorReply)
    assert error.message == "cannot be planned"
    post(client, again := observation(client, instruction="bad"))
    error = await_message(client, lambda m: isinstance(m, ErrorReply) and m.observation_sequence == again.sequence)
    assert isinstance(error, ErrorReply)
    assert error.message == "'bad' could not become a plan; send another instruction"
    post(client, observation(client, instruction="good"))
    await_message(client, is_chunk)


def test_a_late_chunk_is_an_error_not_an_action(client: Client) -> None:
    post(client, observation(client, deadline_ns=1))
    error = await_message(client, is_error)
    assert isinstance(error, ErrorReply)
    assert error.code is ErrorCode.DEADLINE


def test_a_client_too_many_is_told_and_gets_in_when_another_leaves(server: Server, client: Client) -> None:
    with Client(server.endpoint) as second, Client(server.endpoint) as third:
        for each in (client, second):
            post(each, observation(each))
            await_message(each, is_chunk)
        post(third, observation(third))
        error = await_message(third, is_error)
        assert isinstance(error, ErrorReply)
        assert error.code is ErrorCode.TOO_MANY_CLIENTS
        client.close()
        while server.core.scheduler.clients == 2:
            time.sleep(0.01)
        post(third, observation(third))
        await_message(third, is_chunk)


def test_a_chunk_whose_times_cannot_be_true_ends_no_control_loop(server: Server, client: Client) -> None:
    post(client, observation(client))
    chunk = await_message(client, is_chunk)
    assert isinstance(chunk, ActionChunk)
    before = client.clock_offset
    client._learn(replace(chunk, sent_ns=chunk.received_ns - 1), monotonic_ns())
    assert client.clock_offset == before


def test_stopping_waits_for_a_plan_that_is_being_made_and_sends_it() -> None:
    slow = serve(NullPolicy(image_size=SIZE, plan_s=0.5))
    slow.start()
    with Client(slow.endpoint) as client:
        client.hello()
        post(client, observation(client, wants_plans=True))
        time.sleep(0.2)
        slow.stop()
        assert isinstance(await_message(client, lambda message: isinstance(message, Plan)), Plan)


@pytest.mark.parametrize(
    ("record", "field", "value", "match"),
    [
        (table.OBSERVATION, "instruction_encoding", 9, "instruction encoding 9"),
        (table.OBSERVATION, "view_count", 0, "0 views"),
        (table.VIEW, "encoding", 7, "encoding 7"),
    ],
)
def test_an_observation_with_an_unknown_encoding_is_refused_and_the_next_one_served(  # noqa: PLR0917
    server: Server, client: Client, record: table.Record, field: str, value: int, match: str
) -> None:
    frame = encode(observation(client))
    offset = table.HEADER.size + (0 if record is table.OBSERVATION else table.OBSERVATION.size)
    position = offset + next(start for entry, start in record.offsets if entry.name == field)
    frame[position : position + 1] = bytes([value])
    frame[CRC_OFFSET : CRC_OFFSET + 4] = checksum(frame).to_bytes(4, "little")
    context = zmq.Context()
    with context.socket(zmq.DEALER) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(server.endpoint)
        stranger.send(frame)
        assert stranger.poll(2000)
        reply = decode(stranger.recv())
    context.term()
    assert isinstance(reply, ErrorReply)
    assert reply.code is ErrorCode.MALFORMED_MESSAGE
    assert match in reply.message
    post(client, observation(client))
    await_message(client, is_chunk)


def test_a_view_that_is_no_jpeg_or_another_one_is_refused_and_the_next_one_served(client: Client) -> None:
    small = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    for data, match in ((b"no jpeg", "not a JPEG that can be decoded"), (small, "its JPEG holds (8, 8)")):
        good = observation(client)
        bad = replace(good.views[0], encoding=ImageEncoding.JPEG, data=np.frombuffer(data, np.uint8))
        post(client, replace(good, views=(bad, good.views[1])))
        error = await_message(client, is_error)
        assert isinstance(error, ErrorReply)
        assert error.code is ErrorCode.OBSERVATION
        assert match in error.message
    post(client, observation(client))
    await_message(client, is_chunk)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_all_the_same_is_seen_and_only_a_restart_helps() -> None:
    class Fatal(NullPolicy):
        def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
            raise SystemExit

    server = serve(Fatal(image_size=SIZE))
    server.start()
    with Client(server.endpoint) as client:
        assert client.hello().health is Health.READY
        post(client, observation(client))
        deadline = time.monotonic() + 5
        while (why := server.core.diagnosis.why_dead(monotonic_ns())) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert why is not None
        assert why.startswith("the thread st4vla_act has ended: restart the server")
        time.sleep(CACHE_NS / NS_PER_S)
        assert client.hello().health is Health.DEGRADED
    server.stop()
