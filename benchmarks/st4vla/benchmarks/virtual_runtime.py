"""Both systems on a clock of its own: the runtime's core, where plans and chunks take as long as one says.

What takes minutes on a robot takes as long as the policy does, and comes out the same each time.
"""

from __future__ import annotations

from st4vla.contracts.messages import ActionChunk, Observation, PlanReason
from st4vla.runtime.core import Core
from st4vla.runtime.frame import Frame
from st4vla.runtime.policy import Acted, PlanTensors, Policy
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.session import ActJob, Handout, PlanJob

CLIENT = b"client"


class VirtualRuntime:
    """Serve one client.

    Args:
        policy: What plans and acts.
        config: How it is scheduled.
        act_ns: How long a chunk takes.
        plan_ns: How long a plan takes.

    Attributes:
        now_ns: What the clock shows.
        plans: Sequence of the observation that each plan was begun on, and why.
        changes: When the scene counted as changed.
    """

    def __init__(self, policy: Policy, config: SchedulingConfig, *, act_ns: int, plan_ns: int) -> None:
        self._policy, self._act_ns, self._plan_ns = policy, act_ns, plan_ns
        self._core = Core(policy, config)
        self._scheduler = self._core.scheduler
        self._acting: tuple[int, ActJob, Acted] | None = None
        self._planning: tuple[int, PlanJob, PlanTensors] | None = None
        self.now_ns = 0
        self.plans: list[tuple[int, PlanReason]] = []
        self.changes: list[int] = []

    def show(self, observation: Observation, until_ns: int) -> list[ActionChunk]:
        """Take in an observation now, let time go on, and return the chunks that come out meanwhile."""
        self._scheduler.admit(CLIENT, self.now_ns)
        self._scheduler.submit(CLIENT, Frame(observation, self.now_ns, self._policy.info.views))
        chunks = list[ActionChunk]()
        while True:
            self._begin()
            ends = [work[0] for work in (self._acting, self._planning) if work is not None]
            if not ends or min(ends) > until_ns:
                self.now_ns = until_ns
                return chunks
            self.now_ns = min(ends)
            chunks += self._end()

    def _begin(self) -> None:
        if self._planning is None and (plan := self._scheduler.take_plan_job(self.now_ns)) is not None:
            tensors = self._policy.plan(plan.frame.views, plan.frame.observation.instruction)
            self._planning = (self.now_ns + self._plan_ns, plan, tensors)
            self.plans.append((plan.frame.observation.sequence, plan.reason))
        if self._acting is None and (act := self._scheduler.take_act_job(self.now_ns)) is not None:
            acted = self._policy.act(act.frame.views, act.plan.tensors, act.frame.observation.seed, act.splice)
            self._acting = (self.now_ns + self._act_ns, act, acted)

    def _end(self) -> list[ActionChunk]:
        if self._planning is not None and self._planning[0] <= self.now_ns:
            self._scheduler.finish_plan(*self._planning[1:])
            self._planning = None
        if self._acting is None or self._acting[0] > self.now_ns:
            return []
        (_, job, acted), self._acting = self._acting, None
        changes = self._scheduler.counts["changes"]
        handout = self._scheduler.finish_act(job, acted, self.now_ns)
        if self._scheduler.counts["changes"] > changes:
            self.changes.append(self.now_ns)
        return [self._core.chunk(job, handout, self._act_ns)] if isinstance(handout, Handout) else []
