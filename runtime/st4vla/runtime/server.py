"""The ZeroMQ server: one thread for the wire, one for each system.

Threads meet only at the scheduler and at a socket pair inside the process. A bad message gets an error reply and a
count; a policy that fails costs one chunk; neither ends a thread.
"""

from __future__ import annotations

import errno
import itertools
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import zmq

from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.contracts.errors import (
    ChecksumError,
    EngineError,
    ForeignMessageError,
    ObservationError,
    PortInUseError,
    St4vlaError,
    TransportError,
    TruncatedMessageError,
    UnsafeOutputError,
    WireError,
    WireVersionError,
)
from st4vla.contracts.messages import (
    ActionChunk,
    ErrorCode,
    ErrorReply,
    Goodbye,
    Hello,
    Message,
    Observation,
    Plan,
    Welcome,
    WelcomeView,
)
from st4vla.contracts.wire import decode, encode
from st4vla.runtime.curve import ServerKeys
from st4vla.runtime.gate import Gate, open_gate
from st4vla.runtime.policy import Policy
from st4vla.runtime.safe_bind import require_safe_bind
from st4vla.runtime.safety import require_finite
from st4vla.runtime.scheduler import ActJob, Frame, HeldPlan, PlanJob, Scheduler
from st4vla.runtime.views import stack_views

LOG = logging.getLogger(__name__)
POLL_MS = 100
#: How long a server that stops tries to deliver its last replies.
LINGER_MS = 200

#: The first class that fits decides; a wire error of no other class is a malformed message.
CODES: tuple[tuple[type[St4vlaError], ErrorCode], ...] = (
    (ForeignMessageError, ErrorCode.FOREIGN_MESSAGE),
    (WireVersionError, ErrorCode.WIRE_VERSION),
    (TruncatedMessageError, ErrorCode.TRUNCATED_MESSAGE),
    (ChecksumError, ErrorCode.CHECKSUM),
    (WireError, ErrorCode.MALFORMED_MESSAGE),
    (UnsafeOutputError, ErrorCode.UNSAFE_OUTPUT),
    (EngineError, ErrorCode.ENGINE),
    (St4vlaError, ErrorCode.OBSERVATION),
)


class Server:
    """Serve a policy.

    Args:
        policy: What answers.
        endpoint: ZeroMQ address to listen on; a port of ``*`` takes a free one.
        plan_period_ns: Shortest time between two plans for the same instruction.
        max_clients: How many clients are served at once.
        keys: Its own keys and whom it lets in; without any, everybody on this machine, and only there.
    """

    def __init__(
        self,
        policy: Policy,
        endpoint: str,
        *,
        plan_period_ns: int = 200 * NS_PER_MS,
        max_clients: int = 8,
        keys: ServerKeys | None = None,
    ) -> None:
        self._policy = policy
        self._wanted = endpoint
        self._keys = keys
        self._gate = Gate()
        self.scheduler = Scheduler(plan_period_ns, max_clients)
        self.counts: Counter[str] = Counter()
        self.endpoint = ""
        self._context = zmq.Context()
        self._stop_systems = threading.Event()
        self._stop_wire = threading.Event()
        self._sequence = itertools.count(1)
        self._systems: list[threading.Thread] = []
        self._wire: threading.Thread | None = None

    def start(self) -> None:
        """Bind, then start the three threads.

        Raises:
            UnsafeBindError: Other machines can reach the address, and there are no keys.
            PortInUseError: Somebody else listens there.
            TransportError: The address is not one that this machine can listen on.
        """
        require_safe_bind(self._wanted, self._keys)
        router = self._context.socket(zmq.ROUTER)
        router.setsockopt(zmq.LINGER, LINGER_MS)
        router.setsockopt(zmq.SNDHWM, 16)
        router.setsockopt(zmq.RCVHWM, 16)
        self._gate = open_gate(self._keys, router, lambda name: self.counts.update([name]))
        try:
            router.bind(self._wanted)
        except zmq.ZMQError as error:
            self._gate.close()
            router.close()
            if error.errno == errno.EADDRINUSE:
                msg = f"{self._wanted} is in use by another process; stop it, or choose another address with --bind"
                raise PortInUseError(msg) from error
            msg = f"cannot listen on {self._wanted}: {error}; an address looks like tcp://127.0.0.1:5555"
            raise TransportError(msg) from error
        self.endpoint = router.getsockopt_string(zmq.LAST_ENDPOINT)
        replies = self._context.socket(zmq.PULL)
        replies.setsockopt(zmq.LINGER, 0)
        replies.bind("inproc://replies")
        self._wire = threading.Thread(target=self._serve, args=(router, replies), name="st4vla_wire", daemon=True)
        self._systems = [
            threading.Thread(target=target, name=f"st4vla{target.__name__}", daemon=True)
            for target in (self._act, self._plan)
        ]
        for thread in (self._wire, *self._systems):
            thread.start()

    def stop(self) -> None:
        """Stop all threads and free the address. Waits for a running engine call to end.

        The systems end first, then the wire, which takes what they have to say: without it they would wait for ever.
        """
        self._stop_systems.set()
        self.scheduler.close()
        for thread in self._systems:
            thread.join()
        self._stop_wire.set()
        if self._wire is not None:
            self._wire.join()
        self._context.destroy(linger=0)

    def _serve(self, router: zmq.Socket[bytes], replies: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        poller.register(replies, zmq.POLLIN)
        with router, replies:
            while not self._stop_wire.is_set():
                ready = dict(poller.poll(POLL_MS))
                for identity in self._gate.evicted():
                    self.scheduler.leave(identity)
                if replies in ready:
                    self._forward(router, replies)
                if router in ready:
                    address, *frames = router.recv_multipart(copy=False)
                    if not self._gate.lets_in(address):
                        continue
                    answer = self._receive(address.bytes, frames)
                    if answer is not None:
                        self._send(router, address.bytes, self._encoded(answer))
            while replies.poll(0):
                self._forward(router, replies)
            self._gate.close()

    def _forward(self, router: zmq.Socket[bytes], replies: zmq.Socket[bytes]) -> None:
        identity, reply = replies.recv_multipart()
        if self._gate.may_answer(identity):
            self._send(router, identity, reply)

    def _send(self, router: zmq.Socket[bytes], identity: bytes, reply: bytes | bytearray) -> None:
        try:
            router.send_multipart([identity, reply], flags=zmq.NOBLOCK)
        except zmq.ZMQError:
            self.counts["replies_dropped"] += 1

    def _receive(self, identity: bytes, frames: list[zmq.Frame]) -> Message | None:
        """Take one message in and return what to answer at once."""
        received_ns = monotonic_ns()
        self.counts["messages"] += 1
        sequence = 0
        try:
            if len(frames) != 1:
                msg = f"a message of {len(frames)} parts; one frame carries one message"
                raise TruncatedMessageError(msg)
            message = decode(frames[0].buffer)
            sequence = message.sequence
            if isinstance(message, Goodbye):
                self.scheduler.leave(identity)
                return None
            if not isinstance(message, Hello | Observation):
                text = f"a server takes HELLO, OBSERVATION and GOODBYE; got {type(message).__name__}"
                return self._refusal(ErrorCode.UNEXPECTED_KIND, text, sequence)
            if isinstance(message, Hello):
                return self._welcome()
            views = stack_views(message, self._policy.info.views)
            if not self.scheduler.admit(identity, received_ns):
                text = f"all {self.scheduler.max_clients} places are taken; try again later or raise --max-clients"
                return self._refusal(ErrorCode.TOO_MANY_CLIENTS, text, sequence)
            # The views were copied out of the message, which may now go.
            kept = replace(message, views=tuple(replace(view, data=view.data[:0]) for view in message.views))
            self.scheduler.submit(identity, Frame(kept, views, received_ns))
        except (WireError, ObservationError) as error:
            return self._refusal(_code(error), str(error), sequence)
        self.counts["observations"] += 1
        return None

    def _act(self) -> None:
        with self._outbox() as outbox:
            while not self._stop_systems.is_set():
                job = self.scheduler.take_act_job(monotonic_ns(), POLL_MS / 1000)
                if job is not None:
                    outbox.send_multipart([job.identity, self._encoded(self._chunk(job))])

    def _chunk(self, job: ActJob) -> Message:
        observation, info = job.frame.observation, self._policy.info
        started_ns = monotonic_ns()
        try:
            normalized = self._policy.act(job.frame.views, job.plan.tensors, observation.seed)
            require_finite(normalized)
            actions = self._policy.unnormalize(normalized)
        except St4vlaError as error:
            return self._refusal(_code(error), str(error), observation.sequence)
        ended_ns = monotonic_ns()
        if observation.deadline_ns and ended_ns - job.frame.received_ns > observation.deadline_ns:
            late_ms = (ended_ns - job.frame.received_ns) / NS_PER_MS
            text = f"the chunk took {late_ms:.1f} ms; its deadline was {observation.deadline_ns / NS_PER_MS:.1f} ms"
            return self._refusal(ErrorCode.DEADLINE, text, observation.sequence)
        self.counts["chunks"] += 1
        return ActionChunk(
            chunk_id=self.counts["chunks"],
            actions=actions,
            period_ns=info.action.period_ns,
            representation=info.action.representation,
            gripper_index=info.action.gripper_index,
            observation_sequence=observation.sequence,
            observation_sent_ns=observation.sent_ns,
            frame_capture_ns=observation.capture_ns,
            plan_id=job.plan.plan_id,
            plan_capture_ns=job.plan.frame.observation.capture_ns,
            seed=observation.seed,
            received_ns=job.frame.received_ns,
            inference_ns=ended_ns - started_ns,
            frames_superseded=job.superseded,
        )

    def _plan(self) -> None:
        with self._outbox() as outbox:
            while not self._stop_systems.is_set():
                job = self.scheduler.take_plan_job(monotonic_ns())
                if job is None:
                    self.scheduler.wait(POLL_MS / 1000)
                    continue
                notice = self._planned(job)
                if isinstance(notice, ErrorReply) or job.frame.observation.wants_plans:
                    outbox.send_multipart([job.identity, self._encoded(notice)])

    def _planned(self, job: PlanJob) -> Message:
        observation = job.frame.observation
        started_ns = monotonic_ns()
        try:
            tensors = self._policy.plan(job.frame.views, observation.instruction)
        except St4vlaError as error:
            self.scheduler.fail_plan(job.identity, job.frame)
            return self._refusal(_code(error), str(error), observation.sequence)
        self.counts["plans"] += 1
        plan = HeldPlan(self.counts["plans"], tensors, job.frame, started_ns)
        self.scheduler.finish_plan(job.identity, plan)
        return Plan(
            plan_id=plan.plan_id,
            observation_sequence=observation.sequence,
            frame_capture_ns=observation.capture_ns,
            inference_ns=monotonic_ns() - started_ns,
            token_count=tensors.token_count,
            reason=job.reason,
        )

    def _welcome(self) -> Welcome:
        info = self._policy.info
        return Welcome(
            bundle_name=info.name,
            bundle_digest=info.digest,
            views=tuple(WelcomeView(view.name, view.height, view.width) for view in info.views),
            horizon=info.action.horizon,
            action_dim=info.action.dim,
            gripper_index=info.action.gripper_index,
            representation=info.action.representation,
            period_ns=info.action.period_ns,
        )

    def _refusal(self, code: ErrorCode, text: str, sequence: int) -> ErrorReply:
        self.counts[f"refused_{code.name.lower()}"] += 1
        LOG.info("refused message %d: %s", sequence, text)
        return ErrorReply(code, text, sequence)

    def _encoded(self, message: Message) -> bytearray:
        return encode(replace(message, sequence=next(self._sequence)))

    @contextmanager
    def _outbox(self) -> Iterator[zmq.Socket[bytes]]:
        with self._context.socket(zmq.PUSH) as outbox:
            outbox.setsockopt(zmq.LINGER, 0)
            outbox.connect("inproc://replies")
            yield outbox


def _code(error: St4vlaError) -> ErrorCode:
    return next(code for kind, code in CODES if isinstance(error, kind))
