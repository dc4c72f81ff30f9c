"""The ZeroMQ side of a door: a ROUTER that understands the envelopes of REQ clients.

A REP socket, which these clients expect, stops for all of them when one sends two parts where one was meant. A ROUTER
has no such state: each message stands for itself, and every client is answered by its own address.
"""

from __future__ import annotations

import itertools
import logging
import socket
import threading
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, field

import zmq

from st4vla.contracts.clock import NS_PER_S, monotonic_ns
from st4vla.contracts.errors import MalformedMessageError
from st4vla.runtime.doors.conversation import Answers, answer_to
from st4vla.runtime.doors.dialect import Dialect, Request
from st4vla.runtime.doors.door import Core
from st4vla.runtime.doors.listening import in_use_or_impossible
from st4vla.runtime.doors.options import DoorOptions
from st4vla.runtime.doors.seats import Party

LOG = logging.getLogger(__name__)
POLL_MS = 100
LINGER_MS = 200
STOP_S = 10.0
#: Messages that wait for one client, coming and going; REQ clients have one at most.
RECEIVE_HIGH_WATER_MARK, SEND_HIGH_WATER_MARK = 1, 4
#: A peer that does not answer the protocol's own heartbeats for so long is disconnected.
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 5_000, 15_000
#: A client that was silent for so long loses its place when another one needs it: nothing tells that it has gone.
IDLE_NS = 10 * NS_PER_S
#: REQ puts one empty frame before its message, and one more frame when it numbers its requests.
MAX_ENVELOPE = 4
TOO_FAST = "one request at a time: this one came before the answer to the last"


@dataclass
class _Guest:
    """One client: its seats, when it was last heard of, and its request in work."""

    party: Party
    last_ns: int
    asked: _Question | None = None


@dataclass(eq=False)
class _Question:
    """A request in work: how to answer it, and until when."""

    identity: bytes
    envelope: list[bytes]
    request: Request
    received_ns: int
    deadline_ns: int
    answers: Answers = field(default_factory=list)


class RouterDoor:
    """Serve a dialect to ZeroMQ clients.

    Args:
        dialect: What is said.
        core: Who answers.
        options: Where to listen, and the limits.

    Attributes:
        name: Whose protocol it is.
        address: For example ``tcp://127.0.0.1:5555``.
        counts: What came and went.
    """

    def __init__(self, dialect: Dialect, core: Core, options: DoorOptions) -> None:
        self._dialect, self._core, self._options = dialect, core, options
        self.name = dialect.name
        self.address = f"tcp://{options.host}:{options.port}"
        self.counts: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._guests: OrderedDict[bytes, _Guest] = OrderedDict()
        self._answered: deque[_Question] = deque()
        self._stopping = threading.Event()
        self._context = zmq.Context()
        self._wake, self._waker = socket.socketpair()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and answer from a thread of its own.

        Raises:
            PortInUseError: Somebody else listens there.
            TransportError: The address is not one that this machine can listen on.
        """
        for end in (self._wake, self._waker):
            end.setblocking(False)
        router = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, LINGER_MS),
            (zmq.SNDHWM, SEND_HIGH_WATER_MARK),
            (zmq.RCVHWM, RECEIVE_HIGH_WATER_MARK),
            (zmq.MAXMSGSIZE, self._options.max_message_bytes),
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS),
            (zmq.IPV6, ":" in self._options.host),
        ):
            router.setsockopt(option, int(value))
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        wanted = f"tcp://{host}:{self._options.port or '*'}"
        try:
            router.bind(wanted)
        except zmq.ZMQError as error:
            router.close()
            raise in_use_or_impossible(error.errno, wanted, error) from error
        self.address = router.getsockopt_string(zmq.LAST_ENDPOINT)
        self._thread = threading.Thread(
            target=self._serve, args=(router,), name=f"st4vla_{self._dialect.name}_door", daemon=True
        )
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Turn the clients away and free the address."""
        self._stopping.set()
        self._wake_up()
        if self._thread is not None:
            self._thread.join(STOP_S)
            if self._thread.is_alive():
                LOG.warning("the door at %s is still closing", self.address)
                return
            self._thread = None
        self._wake.close()
        self._waker.close()
        self._context.destroy(linger=0)

    def _serve(self, router: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        with router:
            while not self._stopping.is_set():
                ready = dict(poller.poll(POLL_MS))
                if self._wake.fileno() in ready:
                    self._answer_all(router)
                if router in ready:
                    self._take_one(router)
                self._expire(router)
            for guest in self._guests.values():
                guest.party.renew()

    def _take_one(self, router: zmq.Socket[bytes]) -> None:
        try:
            identity, *frames = router.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.ZMQError:
            return
        received_ns = monotonic_ns()
        self.counts["messages"] += 1
        opened = _envelope_of(frames)
        if opened is None:
            self.counts["messages_refused"] += 1
            return
        envelope, body = opened
        answer = self._take(identity.bytes, envelope, body, received_ns)
        if answer is not None:
            self._send(router, identity.bytes, envelope, answer)

    def _take(
        self, identity: bytes, envelope: list[bytes], body: list[zmq.Frame], received_ns: int
    ) -> bytes | str | None:
        """Take one message and return what to answer at once."""
        if len(body) != 1:
            return self._refuse(f"a request of {len(body)} parts; one frame carries one request")
        try:
            request = self._dialect.read(body[0].buffer, received_ns)
        except MalformedMessageError as error:
            return self._refuse(str(error))
        except Exception:
            LOG.exception("a request to the door at %s could not be read", self.address)
            return self._refuse("a request that could not be read")
        return self._ask(identity, envelope, request, received_ns)

    def _ask(self, identity: bytes, envelope: list[bytes], request: Request, received_ns: int) -> bytes | str | None:
        """Hand a request to the core and return what to answer at once."""
        guest = self._guests.get(identity)
        if guest is not None and guest.asked is not None:
            return self._refuse(TOO_FAST)
        if request.reset and guest is not None:
            guest.party.renew()
        if not request.rows:
            return request.answer
        guest = guest or self._admit(identity, received_ns)
        if guest is None:
            return self._refuse(f"all {self._options.connections} places of this door are taken; try again later")
        self._guests.move_to_end(identity)
        guest.last_ns = received_ns
        deadline_ns = received_ns + round(self._options.timeout_s * NS_PER_S)
        question = _Question(identity, envelope, request, received_ns, deadline_ns)
        guest.asked = question
        guest.party.ask(request.rows, received_ns, lambda answers: self._deliver(question, answers))
        return None

    def _admit(self, identity: bytes, now_ns: int) -> _Guest | None:
        if len(self._guests) >= self._options.connections:
            oldest = next((name for name, guest in self._guests.items() if guest.asked is None), None)
            if oldest is None or now_ns - self._guests[oldest].last_ns < IDLE_NS:
                return None
            self._forget(oldest)
        name = f"{self._dialect.name}-{id(self):x}-{next(self._numbers)}"
        party = Party(self._core, name, self._options.plan, self._options.seed)
        guest = self._guests[identity] = _Guest(party, now_ns)
        self.counts["clients"] += 1
        return guest

    def _forget(self, identity: bytes) -> None:
        guest = self._guests.pop(identity, None)
        if guest is not None:
            guest.party.renew()

    def _deliver(self, question: _Question, answers: Answers) -> None:
        """Take the core's answers, in its thread."""
        question.answers = answers
        self._answered.append(question)
        self._wake_up()

    def _wake_up(self) -> None:
        # A full pipe wakes as well, and a closed one has nobody to wake.
        with suppress(OSError):
            self._waker.send(b"\0")

    def _answer_all(self, router: zmq.Socket[bytes]) -> None:
        with suppress(OSError):
            self._wake.recv(4096)
        while self._answered:
            self._answer(router, self._answered.popleft())

    def _answer(self, router: zmq.Socket[bytes], question: _Question) -> None:
        guest = self._guests.get(question.identity)
        if guest is None or guest.asked is not question:
            return
        guest.asked = None
        elapsed_ns = monotonic_ns() - question.received_ns
        answer = answer_to(self._dialect, question.request, question.answers, elapsed_ns)
        self._send(router, question.identity, question.envelope, answer)

    def _expire(self, router: zmq.Socket[bytes]) -> None:
        now_ns = monotonic_ns()
        for guest in list(self._guests.values()):
            if guest.asked is not None and now_ns >= guest.asked.deadline_ns:
                guest.party.renew()
                self.counts["timeouts"] += 1
                self._answer(router, guest.asked)

    def _send(self, router: zmq.Socket[bytes], identity: bytes, envelope: list[bytes], answer: bytes | str) -> None:
        data = answer.encode() if isinstance(answer, str) else answer
        try:
            router.send_multipart([identity, *envelope, data], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            self.counts["replies_dropped"] += 1
            if error.errno == zmq.EHOSTUNREACH:
                self._forget(identity)

    def _refuse(self, text: str) -> bytes | str:
        self.counts["messages_refused"] += 1
        LOG.info("%s: %s", self.address, text)
        return self._dialect.refusal(text)


def _envelope_of(frames: list[zmq.Frame]) -> tuple[list[bytes], list[zmq.Frame]] | None:
    """Split the frames after the identity into the way back and the message.

    The way back ends with an empty frame; a DEALER may leave it out. None where there is nothing to answer to.
    """
    for index, frame in enumerate(frames[:MAX_ENVELOPE]):
        if len(frame) == 0 and len(frames) > 1:
            return [part.bytes for part in frames[: index + 1]], frames[index + 1 :]
    return ([], frames) if frames else None
