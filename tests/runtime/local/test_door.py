import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import PortInUseError, TransportError
from st4vla.contracts.messages import ActionChunk, ErrorCode, ErrorReply, Goodbye, Hello, ImageEncoding, View, Welcome
from st4vla.contracts.wire import encode
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.core import Core
from st4vla.runtime.local.door import MAX_GUESTS, LocalDoor, open_local
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Views

SIZE = 32
Serve = Callable[..., Core]
Come = Callable[[], Any]
Until = Callable[[Callable[[], bool], str], None]


class Seeing(NullPolicy):
    """Acts by what it sees, and may be told to wait."""

    def __init__(self) -> None:
        super().__init__(image_size=SIZE)
        self.seen: list[Views] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        self.may_go_on.wait(10)
        self.seen.append(views.copy())
        return super().act(views, plan, seed, splice)


def test_a_client_is_welcomed_and_gets_chunks_for_the_pictures_that_it_shares(serve: Serve, come: Come) -> None:
    policy = Seeing()
    core = serve(policy)
    client = come()
    client.packet(encode(Hello(1)))
    assert isinstance(client.hear(), Welcome)
    for number in range(1, 4):
        asked = client.observation()
        client.share(asked, index=number)
        chunk = client.hear()
        assert isinstance(chunk, ActionChunk)
        assert chunk.observation_sequence == asked.sequence
    assert [int(views[0, 0, 0, 0]) for views in policy.seen] == [1, 2, 3]
    assert core.counts["observations"] == 3
    assert core.counts["messages"] == 4


def test_a_chunk_is_bit_for_bit_the_policys_own(serve: Serve, come: Come) -> None:
    serve()
    client = come()
    client.share(client.observation(seed=7))
    shared = client.hear()
    direct = NullPolicy(image_size=SIZE)
    plan = direct.plan(np.zeros((2, SIZE, SIZE, 3), np.uint8), "lift")
    expected = direct.act(np.zeros((2, SIZE, SIZE, 3), np.uint8), plan, 7).actions
    assert isinstance(shared, ActionChunk)
    np.testing.assert_array_equal(shared.actions, expected)


def test_memories_come_back_while_both_systems_have_what_they_need(serve: Serve, come: Come, until: Until) -> None:
    """The frames that are acted on and that wait are the server's; what they replace is the client's again."""
    policy = Seeing()
    core = serve(policy)
    client = come()
    client.share(client.observation(), index=0)
    client.hear()
    policy.may_go_on.clear()
    client.share(client.observation(), index=1)
    until(lambda: core.vitals.system1.began_ns is not None, "System 1 does not act")
    client.share(client.observation(), index=2)
    client.share(client.observation(), index=3)
    client.await_return(2)
    assert client.is_lent(1)
    assert client.is_lent(3)
    assert client.is_lent(0), "the plan was made on it"
    policy.may_go_on.set()
    assert [client.hear().observation_sequence for _ in range(2)] == [2, 4]
    client.await_return(1)
    assert [int(views[0, 0, 0, 0]) for views in policy.seen] == [1, 2, 4]


def test_a_jpeg_is_decoded_from_shared_memory_too(serve: Serve, come: Come) -> None:
    policy = Seeing()
    serve(policy)
    client = come()
    now_ns = monotonic_ns()
    jpeg = simplejpeg.encode_jpeg(np.full((SIZE, SIZE, 3), 200, np.uint8), quality=95)
    views = [
        View.from_pixels("agentview", np.zeros((SIZE, SIZE, 3), np.uint8), now_ns),
        View("wrist", now_ns, SIZE, SIZE, ImageEncoding.JPEG, np.frombuffer(jpeg, np.uint8)),
    ]
    client.share(client.observation(views=views))
    assert isinstance(client.hear(), ActionChunk)
    assert abs(int(policy.seen[0][1, 5, 5, 0]) - 200) < 3


class Keeping:
    """A recorder that lets go of nothing."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def clock_ns(self) -> int:
        return monotonic_ns()

    def note(self, note: Any) -> None:
        self.notes.append(note)

    def delivered(self, client: bytes, message: Any) -> None:
        self.notes.append((client, message))


def test_a_recorder_that_falls_behind_keeps_no_memory_of_the_client(serve: Serve, come: Come) -> None:
    recorder = Keeping()
    serve(recorder=recorder)
    client = come()
    for _ in range(20):
        client.share(client.observation())
        client.hear()
        client.await_return()
    kept = [note.given.observation for note in recorder.notes if getattr(note, "name", "") == "submit"]
    assert [int(observation.views[0].pixels[0, 0, 0]) for observation in kept] == list(range(1, 21))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda client: client.packet(b"GET / HTTP/1.1"), ErrorCode.FOREIGN_MESSAGE),
        (lambda client: client.packet(bytes(5000)), ErrorCode.TRUNCATED_MESSAGE),
        (lambda client: client.packet(b"ST4M"), ErrorCode.TRUNCATED_MESSAGE),
        (lambda client: client.note(9, 100), ErrorCode.MALFORMED_MESSAGE),
        (lambda client: client.note(3, 100), ErrorCode.MALFORMED_MESSAGE),
        (lambda client: client.note(0, 100, [0]), ErrorCode.MALFORMED_MESSAGE),
        (lambda client: client.share(b"ST4V" + bytes(300)), ErrorCode.WIRE_VERSION),
        (lambda client: client.share(bytes(encode(Hello(1)))[:-1]), ErrorCode.TRUNCATED_MESSAGE),
        (lambda client: client.packet(bytes(encode(Hello(1)))[:-1] + b"\1"), ErrorCode.CHECKSUM),
        (lambda client: client.packet(encode(client_welcome())), ErrorCode.UNEXPECTED_KIND),
    ],
)
def test_what_is_no_message_is_answered_counted_and_forgotten(
    serve: Serve, come: Come, spoil: Callable[[Any], None], code: ErrorCode
) -> None:
    core = serve()
    client = come()
    spoil(client)
    answer = client.hear()
    assert isinstance(answer, ErrorReply)
    assert answer.code is code
    assert core.counts[f"refused_{code.name.lower()}"] == 1
    if 0 in client.memories:
        client.await_return()
    client.share(client.observation(), index=1)
    assert isinstance(client.hear(), ActionChunk)


def client_welcome() -> Welcome:
    return Core(NullPolicy(image_size=SIZE)).welcome()


def test_a_client_that_hangs_up_leaves_its_place_at_once(serve: Serve, come: Come, until: Until) -> None:
    core = serve(max_clients=1)
    first, second = come(), come()
    first.share(first.observation())
    assert isinstance(first.hear(), ActionChunk)
    second.share(second.observation())
    refused = second.hear()
    assert isinstance(refused, ErrorReply)
    assert refused.code is ErrorCode.TOO_MANY_CLIENTS
    first.close()
    until(lambda: core.scheduler.clients == 0, "it has its place still")
    second.share(second.observation())
    assert isinstance(second.hear(), ActionChunk)


def test_a_client_that_says_goodbye_may_go_on_afterwards(serve: Serve, come: Come, until: Until) -> None:
    core = serve()
    client = come()
    client.share(client.observation())
    client.hear()
    client.packet(encode(Goodbye(9)))
    until(lambda: core.scheduler.clients == 0, "it has its place still")
    client.share(client.observation())
    assert isinstance(client.hear(), ActionChunk)


def test_a_client_that_reads_nothing_costs_the_others_nothing_and_gets_what_is_new_at_last(
    serve: Serve, come: Come
) -> None:
    core = serve()
    deaf, well = come(), come()
    deadline = time.monotonic() + 10
    while core.counts["replies_superseded"] < 5 and time.monotonic() < deadline:
        deaf.share(deaf.observation(), index=deaf.sequence % 4)
        well.share(well.observation())
        assert isinstance(well.hear(), ActionChunk)
    assert core.counts["replies_superseded"] >= 5
    newest = 0
    deaf.stream.settimeout(0.5)
    while newest < deaf.sequence:
        newest = max(newest, deaf.hear().observation_sequence)
    assert newest == deaf.sequence


def test_only_so_many_clients_come_in(serve: Serve, come: Come) -> None:
    serve()
    guests = [come() for _ in range(MAX_GUESTS)]
    one_more = come()
    assert one_more.stream.recv(100) == b""
    guests[0].packet(encode(Hello(1)))
    assert isinstance(guests[0].hear(), Welcome)


def test_a_door_is_its_owners_and_is_gone_when_it_closes(path: Path) -> None:
    door = LocalDoor(Core(NullPolicy(image_size=SIZE)), path)
    door.start()
    assert door.is_open
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    door.stop()
    door.stop()
    assert not path.exists()
    assert not door.is_open


def test_a_path_that_is_in_use_or_impossible_is_named(path: Path, tmp_path: Path) -> None:
    core = Core(NullPolicy(image_size=SIZE))
    first = LocalDoor(core, path)
    first.start()
    with pytest.raises(PortInUseError, match=str(path)):
        LocalDoor(core, path).start()
    assert first.is_open
    first.stop()
    path.write_text("not a socket")
    with pytest.raises(PortInUseError, match=str(path)):
        LocalDoor(core, path).start()
    assert path.read_text() == "not a socket"
    for impossible in (tmp_path / "none" / "socket", tmp_path / ("x" * 120)):
        with pytest.raises(TransportError, match="choose a path"):
            LocalDoor(core, impossible).start()


def test_what_a_killed_server_left_is_replaced(path: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left.bind(str(path))
    left.listen()
    left.close()
    door = LocalDoor(Core(NullPolicy(image_size=SIZE)), path)
    door.start()
    assert door.is_open
    door.stop()


def test_a_door_leaves_no_descriptor_open(path: Path, come: Come) -> None:
    open_after = []
    for _ in range(3):
        core = Core(NullPolicy(image_size=SIZE))
        door = LocalDoor(core, path)
        door.start()
        core.start()
        client = come()
        client.share(client.observation())
        assert isinstance(client.hear(), ActionChunk)
        for memory in client.memories.values():
            memory.close()
        client.close()
        core.stop()
        door.stop()
        del core, door
        open_after.append(len(list(Path("/proc/self/fd").iterdir())))
    assert open_after[1:] == [open_after[1]] * 2


def test_a_successor_waits_for_the_path_and_keeps_it_when_the_door_before_it_closes(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    before = LocalDoor(Core(NullPolicy()), path)
    before.start()
    closing = threading.Timer(0.1, before.stop)
    closing.start()
    with open_local(Core(NullPolicy()), path, patience_s=10.0) as (door,):
        closing.join()
        assert door.is_open
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
            caller.connect(str(path))
    assert not path.exists()
