"""Stream pictures to a server and hand on what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from st4vla.contracts.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from st4vla.contracts.errors import ObservationError, ServerUnreachableError, UsageError
from st4vla.contracts.messages import ActionChunk, ErrorCode, ErrorReply, Message, Observation, Plan, Welcome
from st4vla.runtime.client import Client
from st4vla.runtime.framing import make_view
from st4vla.runtime.sources import Picture, Source

#: A refusal of this kind costs one chunk; any other would come for every frame, so it ends the stream.
PASSING = (ErrorCode.ENGINE, ErrorCode.UNSAFE_OUTPUT, ErrorCode.DEADLINE)
#: A server that says nothing is asked whether it is there; one that does not answer that either is gone.
ASK_AFTER_S, GONE_AFTER_S = 1.0, 5.0
#: How long the chunk of the last frame is waited for: a large planner on a small processor is slow.
DRAIN_S = 60.0


@dataclass
class StreamReport:
    """What happened.

    Attributes:
        frames_sent: Observations that went out.
        frames_refused: Observations that the full socket refused.
        frames_superseded: Observations that a newer one replaced before System 1 saw them.
        plans: Plans of System 2.
        chunks: Chunks of System 1.
        errors: Frames that cost their chunk.
        chunk_age_ms: For each chunk, how old its frame was when it arrived.
    """

    frames_sent: int = 0
    frames_refused: int = 0
    frames_superseded: int = 0
    plans: int = 0
    chunks: int = 0
    errors: int = 0
    chunk_age_ms: list[float] = field(default_factory=list)


def assign_views(given: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Return for each view that a server wants the source that feeds it.

    Args:
        given: ``NAME=WHERE``, or one ``WHERE`` alone for all views.
        wanted: Names of the views.

    Raises:
        UsageError: Not exactly the views that are wanted.
    """
    views = ", ".join(wanted)
    if len(given) == 1 and not re.match(rf"({'|'.join(map(re.escape, wanted))})=", given[0]):
        return dict.fromkeys(wanted, given[0])
    named = dict(entry.partition("=")[::2] for entry in given)
    if len(named) != len(given) or set(named) != set(wanted) or not all(named.values()):
        text = " ".join(f"--source {name}=WHERE" for name in wanted)
        msg = f"sources {list(given)} for the views {views}; give one for all of them, or each its own: {text}"
        raise UsageError(msg)
    return named


class Streamer:
    """Send one observation a period from some sources, each for one or more views.

    Args:
        client: Connected to the server.
        welcome: What the server said that it serves.
        sources: For each view its source; one source may feed several.
        instruction: What to do.
        period_ns: Time between two observations.
        seed: Seed of the first observation's noise; each has the next one.
        deadline_ns: How long an answer is of use; 0 for ever.
        jpeg_quality: Send JPEG of this quality instead of raw pixels.
        on_message: Called with each chunk, plan and passing error.
    """

    def __init__(
        self,
        client: Client,
        welcome: Welcome,
        sources: Mapping[str, Source],
        instruction: str,
        *,
        period_ns: int,
        seed: int = 0,
        deadline_ns: int = 0,
        jpeg_quality: int | None = None,
        on_message: Callable[[Message], None] = lambda _: None,
    ) -> None:
        self._client, self._welcome, self._sources = client, welcome, sources
        self._instruction, self._seed, self._deadline_ns = instruction, seed, deadline_ns
        self._period_ns, self._jpeg_quality, self._on_message = period_ns, jpeg_quality, on_message
        self._heard_ns = 0
        self._answered = -1
        self.report = StreamReport()

    def run(self, seconds: float | None = None, stopped: Callable[[], bool] = lambda: False) -> StreamReport:
        """Stream until a source ends, the time is over or `stopped` says so, then wait for the last chunk.

        Raises:
            SourceError: A source cannot be read.
            ObservationError: The server refuses what is sent to it.
            ServerUnreachableError: The server has fallen silent.
        """
        due_ns = self._heard_ns = monotonic_ns()
        ticks = None if seconds is None else max(1, round(seconds * NS_PER_S / self._period_ns))
        tick, last = 0, -1
        while (ticks is None or tick < ticks) and not stopped():
            read_ns = monotonic_ns()
            observation = self._observe(tick)
            if observation is None:
                break
            # While a camera is silent, a server is not expected to speak.
            self._heard_ns += monotonic_ns() - read_ns
            if self._client.send(observation):
                self.report.frames_sent += 1
                last = observation.sequence
            else:
                self.report.frames_refused += 1
            tick += 1
            # A source that is slower than the period sets the pace; what was missed is not made up for.
            due_ns = max(due_ns + self._period_ns, monotonic_ns())
            self._collect_until(due_ns)
        drained_ns = monotonic_ns() + round(DRAIN_S * NS_PER_S)
        while self._answered < last and not stopped() and monotonic_ns() < drained_ns:
            self._collect_until(monotonic_ns() + self._period_ns)
        return self.report

    def _observe(self, tick: int) -> Observation | None:
        pictures: dict[Source, Picture] = {}
        for source in dict.fromkeys(self._sources.values()):
            picture = source.read()
            if picture is None:
                return None
            pictures[source] = picture
        views = tuple(
            make_view(pictures[self._sources[view.name]], view, self._jpeg_quality) for view in self._welcome.views
        )
        return Observation(
            self._client.next_sequence(),
            views,
            self._instruction,
            seed=self._seed + tick,
            deadline_ns=self._deadline_ns,
            wants_plans=True,
        )

    def _collect_until(self, due_ns: int) -> None:
        left_ns = due_ns - monotonic_ns()
        while True:
            for message in self._client.receive(max(left_ns, 0) / NS_PER_S):
                self._take(message)
            left_ns = due_ns - monotonic_ns()
            if left_ns <= 0:
                break
        silent_s = (monotonic_ns() - self._heard_ns) / NS_PER_S
        if silent_s > GONE_AFTER_S:
            msg = f"the server at {self._client.endpoint} has not answered for {GONE_AFTER_S:g} s; is it still running?"
            raise ServerUnreachableError(msg)
        if silent_s > ASK_AFTER_S:
            self._client.greet()

    def _take(self, message: Message) -> None:
        self._heard_ns = monotonic_ns()
        if isinstance(message, ActionChunk):
            self.report.chunks += 1
            self.report.chunk_age_ms.append((self._heard_ns - message.frame_capture_ns) / NS_PER_MS)
            self.report.frames_superseded = message.frames_superseded
            self._answered = message.observation_sequence
        elif isinstance(message, Plan):
            self.report.plans += 1
        elif isinstance(message, ErrorReply):
            if message.code not in PASSING:
                raise ObservationError(message.message)
            self.report.errors += 1
            self._answered = max(self._answered, message.observation_sequence)
        self._on_message(message)
