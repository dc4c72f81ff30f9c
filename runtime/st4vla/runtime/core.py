"""Both systems at work: one thread each, and whoever brings observations in.

The doors (ZeroMQ, and those for other projects' clients) call `submit`; answers go back through the function that came
with the observation. Nothing that a client or an engine does ends a thread: a policy that fails costs one chunk.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import (
    EngineError,
    ObservationError,
    PromptError,
    St4vlaError,
    UnsafeOutputError,
)
from st4vla.contracts.messages import (
    ActionChunk,
    ErrorCode,
    ErrorReply,
    Health,
    Message,
    Observation,
    Plan,
    Welcome,
    WelcomeView,
)
from st4vla.contracts.staleness import Pace
from st4vla.runtime.diagnosis import Diagnosis, thread_check
from st4vla.runtime.frame import Frame
from st4vla.runtime.policy import Policy, PolicyInfo
from st4vla.runtime.recording.journal import JournaledScheduler, Recorder
from st4vla.runtime.safety import require_finite, require_speed, slow_down
from st4vla.runtime.scheduler import Overdue, Scheduler, SchedulingConfig
from st4vla.runtime.session import ActJob, Handout
from st4vla.runtime.vitals import Vitals

LOG = logging.getLogger(__name__)
POLL_S = 0.1

Deliver = Callable[[Message], None]

#: The first class that fits decides.
CODES: tuple[tuple[type[St4vlaError], ErrorCode], ...] = (
    (UnsafeOutputError, ErrorCode.UNSAFE_OUTPUT),
    (EngineError, ErrorCode.ENGINE),
    (St4vlaError, ErrorCode.OBSERVATION),
)


class Core:
    """Run a policy for many clients.

    Args:
        policy: What answers.
        config: How it is scheduled.
        recorder: Who writes down what happens, if anybody does.

    Raises:
        ValueError: An age at which to slow down, for actions that cannot be slowed down.

    Attributes:
        info: What the policy serves.
        counts: What happened so far, by name.
        vitals: What both systems did lately.
        diagnosis: What is wrong.
        started_ns: When it was started, on this machine's clock.
    """

    def __init__(
        self, policy: Policy, config: SchedulingConfig | None = None, recorder: Recorder | None = None
    ) -> None:
        self._policy, self._recorder = policy, recorder
        config = config or SchedulingConfig()
        if config.staleness.frame.slow_ns or config.staleness.plan.slow_ns:
            require_speed(policy.info.action.representation)
        self.info: PolicyInfo = policy.info
        action = policy.info.action
        self.scheduler = JournaledScheduler(config, action, recorder) if recorder else Scheduler(config, action)
        self.counts: Counter[str] = self.scheduler.counts
        self._outlets: dict[bytes, Deliver] = {}
        self.vitals = Vitals()
        self.diagnosis = Diagnosis(self.vitals, self.scheduler)
        self.started_ns = 0
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start both systems."""
        self._threads = [
            threading.Thread(target=self._loop, args=(step,), name=f"st4vla_{name}", daemon=True)
            for name, step in (("act", self._act), ("plan", self._plan), ("expire", self._expire))
        ]
        self.started_ns = monotonic_ns()
        for thread in self._threads:
            thread.start()
            self.diagnosis.watch(f"{thread.name.removeprefix('st4vla_')}_ended", thread_check(thread), vital=True)

    def stop(self) -> None:
        """Stop both systems. Waits for a running engine call to end, whose answer is delivered still."""
        self._stopping.set()
        self.scheduler.close()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def welcome(self) -> Welcome:
        """Say what is served."""
        action = self.info.action
        return Welcome(
            bundle_name=self.info.name,
            bundle_digest=self.info.digest,
            views=tuple(WelcomeView(view.name, view.height, view.width) for view in self.info.views),
            horizon=action.horizon,
            action_dim=action.dim,
            gripper_index=action.gripper_index,
            representation=action.representation,
            period_ns=action.period_ns,
            staleness=self.scheduler.config.staleness,
            health=self.health,
        )

    @property
    def is_recorded(self) -> bool:
        """Whether what clients send is kept until a disk has it."""
        return self._recorder is not None

    @property
    def health(self) -> Health:
        """Whether answers can be relied on."""
        if not self._threads:
            return Health.STARTING
        return Health.DEGRADED if self.diagnosis.causes(monotonic_ns()) else Health.READY

    def submit(self, client: bytes, observation: Observation, received_ns: int, deliver: Deliver) -> ErrorReply | None:
        """Take an observation in.

        Args:
            client: Whose it is; unique among all doors.
            observation: What was received.
            received_ns: When, on this machine's clock.
            deliver: Called later, from another thread, with chunks, plan notices and error replies for this client. It
                must not block.

        Returns:
            Why it is refused, or None.
        """
        try:
            frame = Frame(observation, received_ns, self.info.views)
        except ObservationError as error:
            return self.refusal(ErrorCode.OBSERVATION, str(error), observation.sequence)
        if not self.scheduler.admit(client, received_ns):
            limit = self.scheduler.config.max_clients
            text = f"all {limit} places are taken; try again later or raise --max-clients"
            return self.refusal(ErrorCode.TOO_MANY_CLIENTS, text, observation.sequence)
        if self.scheduler.cannot_plan(client, observation.instruction):
            text = f"{observation.instruction!r} could not become a plan; send another instruction"
            return self.refusal(ErrorCode.OBSERVATION, text, observation.sequence)
        if client not in self._outlets:
            # A client that lost its place took no leave.
            self._outlets = {each: way for each, way in self._outlets.items() if self.scheduler.has_place(each)}
        self._outlets[client] = deliver
        self.counts["observations"] += 1
        self.scheduler.submit(client, frame)
        return None

    def leave(self, client: bytes) -> None:
        """Forget a client."""
        self.scheduler.leave(client)
        self._outlets.pop(client, None)

    def refusal(self, code: ErrorCode, text: str, sequence: int) -> ErrorReply:
        """Count a refusal and return it."""
        self.counts[f"refused_{code.name.lower()}"] += 1
        LOG.info("refused message %d: %s", sequence, text)
        return ErrorReply(code, text, sequence)

    def _loop(self, step: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                step()
            except Exception:
                # A mistake of ours, not of the policy's: those are answered. The thread goes on, and not in a rush.
                LOG.exception("%s failed", step.__name__)
                self.counts["internal_errors"] += 1
                self._stopping.wait(POLL_S)

    def _act(self) -> None:
        self.scheduler.wait_to_act(POLL_S)
        job = self.scheduler.take_act_job(monotonic_ns())
        if job is None:
            return
        sequence, began_ns = job.frame.observation.sequence, monotonic_ns()
        self.vitals.system1.begin(began_ns)
        try:
            acted = self._policy.act(job.frame.views, job.plan.tensors, job.frame.observation.seed, job.splice)
            require_finite(acted.actions)
        except Exception as error:
            # A thread that ends would stop every client. A job whose time was over has been answered.
            self.vitals.failed_to_act(monotonic_ns(), error)
            if self.scheduler.fail_act(job):
                self._deliver(job.identity, self._failure(error, sequence))
            return
        ended_ns = monotonic_ns()
        self.vitals.system1.end(ended_ns)
        handout = self.scheduler.finish_act(job, acted, ended_ns)
        if isinstance(handout, Overdue):
            self._refuse_overdue(handout, ended_ns)
        elif handout is not None:
            self.vitals.handed_out(ended_ns, handout.frame_age_ns, handout.plan_age_ns)
            try:
                message: Message = self.chunk(job, handout, ended_ns - began_ns)
            except Exception as error:
                message = self._failure(error, sequence)
            self._deliver(job.identity, message)

    def chunk(self, job: ActJob, handout: Handout, inference_ns: int) -> ActionChunk:
        """Return the message that carries what the scheduler hands out for a job."""
        observation, action = job.frame.observation, self.info.action
        actions = self._policy.unnormalize(handout.actions)
        if handout.pace is Pace.SLOW:
            actions = slow_down(actions, action.representation, action.gripper_index)
        return ActionChunk(
            chunk_id=handout.chunk_id,
            actions=actions,
            period_ns=action.period_ns,
            representation=action.representation,
            gripper_index=action.gripper_index,
            observation_sequence=observation.sequence,
            observation_sent_ns=observation.sent_ns,
            frame_capture_ns=job.frame.capture_ns,
            start_ns=job.splice.start_ns,
            plan_id=job.plan.plan_id,
            plan_capture_ns=job.plan.frame.capture_ns,
            seed=observation.seed,
            received_ns=job.frame.received_ns,
            inference_ns=inference_ns,
            frame_age_ns=handout.frame_age_ns,
            plan_age_ns=handout.plan_age_ns,
            frozen_steps=job.splice.frozen_steps,
            pace=handout.pace,
            frames_superseded=job.superseded,
        )

    def _plan(self) -> None:
        self.scheduler.wait_to_plan(monotonic_ns(), POLL_S)
        job = self.scheduler.take_plan_job(monotonic_ns())
        if job is None:
            return
        observation, began_ns = job.frame.observation, monotonic_ns()
        self.vitals.system2.begin(began_ns)
        try:
            tensors = self._policy.plan(job.frame.views, observation.instruction)
        except Exception as error:
            self.vitals.system2.fail(monotonic_ns(), error)
            # Another frame or another try may succeed, but not with words that cannot become a prompt.
            self.scheduler.fail_plan(job, for_good=isinstance(error, PromptError))
            self._deliver(job.identity, self._failure(error, observation.sequence))
            return
        ended_ns = monotonic_ns()
        self.vitals.system2.end(ended_ns)
        plan = self.scheduler.finish_plan(job, tensors)
        if observation.wants_plans:
            notice = Plan(
                plan_id=plan.plan_id,
                observation_sequence=observation.sequence,
                frame_capture_ns=job.frame.capture_ns,
                inference_ns=ended_ns - began_ns,
                token_count=tensors.token_count,
                reason=job.reason,
            )
            self._deliver(job.identity, notice)

    def _expire(self) -> None:
        """Answer what is overdue, also while an engine hangs."""
        self.scheduler.wait_to_expire(monotonic_ns(), POLL_S)
        now_ns = monotonic_ns()
        for overdue in self.scheduler.expire(now_ns):
            self._refuse_overdue(overdue, now_ns)

    def _refuse_overdue(self, overdue: Overdue, now_ns: int) -> None:
        if overdue.code is ErrorCode.STALE:
            self.vitals.gone_stale(now_ns)
        self._deliver(overdue.identity, self.refusal(overdue.code, overdue.text, overdue.sequence))

    def _failure(self, error: Exception, sequence: int) -> ErrorReply:
        if isinstance(error, St4vlaError):
            code = next(code for kind, code in CODES if isinstance(error, kind))
            return self.refusal(code, str(error), sequence)
        LOG.error("message %d: the policy failed", sequence, exc_info=error)
        text = f"the policy failed with {type(error).__name__}; the server's log says more"
        return self.refusal(ErrorCode.INTERNAL, text, sequence)

    def _deliver(self, client: bytes, message: Message) -> None:
        if self._recorder is not None:
            self._recorder.delivered(client, message)
        deliver = self._outlets.get(client)
        if deliver is not None:
            deliver(message)
