"""A recorded session once more: the same calls of the same scheduler at the same times, with the policy asked again.

Time is virtual: it is what the journal says. System 1 and System 2 run where the journal says that they had finished,
so that what each of them got is what it got then, and every answer is compared with the one that was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from st4vla.contracts.errors import ObservationError, PromptError, RecordingError
from st4vla.contracts.messages import Message, Observation
from st4vla.runtime.core import Core
from st4vla.runtime.frame import Frame
from st4vla.runtime.policy import Acted, PlanTensors, Policy
from st4vla.runtime.recording.comparing import Comparer, largest_difference
from st4vla.runtime.recording.describing import describe, describe_acted, describe_chunk
from st4vla.runtime.recording.header import RecordingEnd
from st4vla.runtime.recording.journal import Note
from st4vla.runtime.recording.reader import RecordedCall, RecordingReader
from st4vla.runtime.recording.records import CALL, ActedRecord, ActionChunk, Call
from st4vla.runtime.safety import require_finite
from st4vla.runtime.session import ActJob, Handout, PlanJob

#: Differences whose sentences are kept.
MOST_SENTENCES = 20


@dataclass
class ReplayReport:
    """What a replay found.

    Attributes:
        calls: Calls by name.
        chunks: Chunks that were compared as they went out.
        chunks_unseen: Chunks that were handed out at the very end, of which the recording has no more than the call.
        plans: Plans that were compared.
        failures: Recorded failures of a system.
        failures_again: Those that came again; others had a cause outside, such as a device that was lost.
        largest: Largest difference of a normalised action from the recorded one.
        differences: How many there were.
        sentences: What the first of them were.
        end: What the recording says last; None for one whose recorder was killed.
        first_ns, last_ns: The times of its first and last call.
    """

    calls: dict[str, int] = field(default_factory=dict)
    chunks: int = 0
    chunks_unseen: int = 0
    plans: int = 0
    failures: int = 0
    failures_again: int = 0
    largest: float = 0.0
    differences: int = 0
    sentences: list[str] = field(default_factory=list)
    end: RecordingEnd | None = None
    first_ns: int = 0
    last_ns: int = 0


class Replayer:
    """Replay a recording.

    Args:
        recording: What was recorded.
        policy: The policy that it was recorded with.
        tolerance: See `Comparer`; None: bit for bit.
        keep_going: Count differences; otherwise the first one ends it.

    Raises:
        RecordingError: It was recorded with another policy.
    """

    def __init__(
        self,
        recording: RecordingReader,
        policy: Policy,
        *,
        tolerance: float | None = None,
        keep_going: bool = False,
    ) -> None:
        header, info = recording.header, policy.info
        if header.bundle_digest != info.digest.hex():
            msg = (
                f"{recording.path} was recorded with the bundle {header.bundle_name!r} of digest "
                f"{header.bundle_digest[:16]}...; this is {info.name!r} of digest {info.digest.hex()[:16]}...: "
                "replay it with the bundle that was served"
            )
            raise RecordingError(msg)
        self._recording, self._policy, self._keep_going = recording, policy, keep_going
        self._comparer = Comparer(info.action.dim, tolerance)
        self._core = Core(policy, header.config, self)
        self._scheduler = self._core.scheduler
        self._now_ns = 0
        self._noted: Note | None = None
        self._act_jobs: dict[int, ActJob] = {}
        self._plan_jobs: dict[int, PlanJob] = {}
        self._handed_out: dict[int, tuple[str, ActionChunk]] = {}
        self._sequence = 0
        self.report = ReplayReport()

    def run(self) -> ReplayReport:
        """Replay everything, or up to the first difference.

        Raises:
            RecordingError: The recording was altered.
        """
        report = self.report
        for event in self._recording.events():
            if isinstance(event, RecordedCall):
                self._call(event)
            else:
                self._chunk(event)
            if report.differences and not self._keep_going:
                break
        report.end = self._recording.end
        report.chunks_unseen = len(self._handed_out)
        return report

    def clock_ns(self) -> int:
        """Return the time that the journal says."""
        return self._now_ns

    def note(self, note: Note) -> None:
        """Take in what the scheduler was asked in the replay, and what it answered."""
        self._noted = note

    def delivered(self, client: bytes, message: Message) -> None:
        """Do nothing: nobody waits for an answer."""

    def _call(self, recorded: RecordedCall) -> None:
        call, report = recorded.call, self.report
        report.calls[call.name] = report.calls.get(call.name, 0) + 1
        report.first_ns, report.last_ns = report.first_ns or call.time_ns, call.time_ns
        self._now_ns, self._noted, self._sequence = call.time_ns, None, 0
        told = report.differences
        self._repeat(call, recorded.observation)
        if self._noted is None:
            if report.differences == told:
                self._differ(call, "the replay found nothing to do here")
            return
        replayed = CALL.decode(CALL.encode(describe(self._noted, call.frame.number if call.frame else 0)))
        found = self._comparer.calls(call, replayed)
        if found is not None and report.differences == told:
            self._differ(call, found)

    def _repeat(self, call: Call, observation: Observation | None) -> None:
        scheduler, now_ns = self._scheduler, call.time_ns
        if call.name == "admit":
            scheduler.admit(call.client, now_ns)
        elif call.name == "submit":
            self._submit(call, observation)
        elif call.name == "leave":
            scheduler.leave(call.client)
        elif call.name == "take_act_job":
            act_job = scheduler.take_act_job(now_ns)
            if act_job is not None:
                self._act_jobs[call.number] = act_job
        elif call.name == "take_plan_job":
            plan_job = scheduler.take_plan_job(now_ns)
            if plan_job is not None:
                self._plan_jobs[call.number] = plan_job
        elif call.name in {"finish_act", "fail_act"}:
            self._end_act(call, self._act_jobs.pop(call.job, None))
        elif call.name in {"finish_plan", "fail_plan"}:
            self._end_plan(call, self._plan_jobs.pop(call.job, None))
        elif call.name == "expire":
            scheduler.expire(now_ns)
        elif call.name == "close":
            scheduler.close()
        else:
            msg = f"call {call.number} is {call.name!r}, which this build does not know: replay it with a newer one"
            raise RecordingError(msg)

    def _submit(self, call: Call, observation: Observation | None) -> None:
        if observation is None or call.frame is None:
            msg = f"call {call.number} submits no frame: the recording was altered"
            raise RecordingError(msg)
        try:
            frame = Frame(observation, call.frame.received_ns, self._policy.info.views)
            self._scheduler.submit(call.client, frame)
        except (ObservationError, KeyError) as error:
            self._differ(call, f"the frame cannot be submitted in the replay: {error}")

    def _end_act(self, call: Call, job: ActJob | None) -> None:
        if job is None:
            self._differ(call, "the job that it ends was not taken in the replay")
            return
        self._sequence = job.frame.observation.sequence
        acted = self._act(job)
        if call.acted is None:
            self._failed(again=isinstance(acted, Exception))
            self._scheduler.fail_act(job)
            return
        given = self._same_or_recorded(call, acted, call.acted)
        handout = self._scheduler.finish_act(job, given, call.time_ns)
        if isinstance(handout, Handout):
            chunk = describe_chunk(self._core.chunk(job, handout, 0))
            self._handed_out[handout.chunk_id] = (self._where(call), chunk)

    def _end_plan(self, call: Call, job: PlanJob | None) -> None:
        if job is None:
            self._differ(call, "the job that it ends was not taken in the replay")
            return
        self._sequence = job.frame.observation.sequence
        tensors = self._plan(job)
        if call.planned is None:
            self._failed(again=isinstance(tensors, Exception))
            if isinstance(tensors, Exception) and isinstance(tensors, PromptError) != call.for_good:
                self._differ(call, f"the plan failed with another kind of error in the replay: {tensors}")
            self._scheduler.fail_plan(job, for_good=call.for_good)
        elif isinstance(tensors, Exception):
            self._differ(call, f"System 2 failed in the replay: {tensors}")
            self._scheduler.fail_plan(job, for_good=False)
        else:
            self.report.plans += 1
            self._scheduler.finish_plan(job, tensors)

    def _act(self, job: ActJob) -> Acted | Exception:
        try:
            acted = self._policy.act(job.frame.views, job.plan.tensors, job.frame.observation.seed, job.splice)
            require_finite(acted.actions)
        except Exception as error:
            # As in the core: a policy may fail in any way.
            return error
        return acted

    def _plan(self, job: PlanJob) -> PlanTensors | Exception:
        try:
            return self._policy.plan(job.frame.views, job.frame.observation.instruction)
        except Exception as error:
            return error

    def _failed(self, *, again: bool) -> None:
        self.report.failures += 1
        self.report.failures_again += again

    def _same_or_recorded(self, call: Call, acted: Acted | Exception, recorded: ActedRecord) -> Acted:
        """Compare what System 1 made, and return what the scheduler is given.

        Where it is not the same to the bit, that is what was recorded: what follows is judged on its own.
        """
        shape = (-1, self._policy.info.action.dim)
        then = Acted(
            np.frombuffer(recorded.actions, "<f4").reshape(shape),
            np.frombuffer(recorded.cells, "<f4").reshape(recorded.cell_count, -1) if recorded.cell_count else None,
        )
        if isinstance(acted, Exception):
            self._differ(call, f"System 1 failed in the replay: {acted}")
            return then
        now = describe_acted(acted)
        self.report.largest = max(self.report.largest, largest_difference(recorded.actions, now.actions))
        if now == recorded:
            return acted
        found = self._comparer.acted(recorded, now)
        if found is not None:
            self._differ(call, found)
        return then

    def _chunk(self, recorded: ActionChunk) -> None:
        """Compare a chunk as it went out."""
        told = self._handed_out.pop(recorded.chunk_id, None)
        if told is None:
            self._tell(f"chunk {recorded.chunk_id} for frame {recorded.observation_sequence} is not in the replay")
            return
        where, replayed = told
        self.report.chunks += 1
        found = self._comparer.chunks(recorded, replayed)
        if found is not None:
            self._tell(f"{where}: chunk {recorded.chunk_id}: {found}")

    def _where(self, call: Call) -> str:
        sequence = call.frame.sequence if call.frame else self._sequence or call.outcome.sequence
        of = f" of client {call.slot}, frame {sequence}" if call.client else ""
        return f"call {call.number}, {call.name}{of}"

    def _differ(self, call: Call, what: str) -> None:
        self._tell(f"{self._where(call)}: {what}")

    def _tell(self, sentence: str) -> None:
        self.report.differences += 1
        if len(self.report.sentences) < MOST_SENTENCES:
            self.report.sentences.append(sentence)
