import numpy as np

from st4vla.benchmarks.virtual_runtime import VirtualRuntime
from st4vla.contracts.clock import NS_PER_MS
from st4vla.contracts.messages import ActionChunk, Observation, PlanReason, View
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.scheduler import SchedulingConfig

TICK_NS = 50 * NS_PER_MS
POLICY = NullPolicy(image_size=2)


def played(
    ticks: int, config: SchedulingConfig, *, act_ms: int, plan_ms: int
) -> tuple[VirtualRuntime, list[tuple[int, ActionChunk]]]:
    runtime = VirtualRuntime(POLICY, config, act_ns=act_ms * NS_PER_MS, plan_ns=plan_ms * NS_PER_MS)
    chunks = []
    for tick in range(ticks):
        now_ns = tick * TICK_NS
        views = tuple(View.from_pixels(view.name, np.zeros((2, 2, 3), np.uint8), now_ns) for view in POLICY.info.views)
        observation = Observation(tick, views, "lift", seed=tick, sent_ns=now_ns)
        chunks += [(tick, chunk) for chunk in runtime.show(observation, now_ns + TICK_NS)]
    return runtime, chunks


def test_chunks_and_plans_take_as_long_as_they_are_told_to() -> None:
    config = SchedulingConfig(plan_period_ns=500 * NS_PER_MS)
    runtime, chunks = played(38, config, act_ms=120, plan_ms=80)
    assert runtime.plans == [
        (0, PlanReason.FIRST),
        (10, PlanReason.PERIOD),
        (20, PlanReason.PERIOD),
        (30, PlanReason.PERIOD),
    ]
    # The first frame waits for its plan; by then the second one is there.
    first = chunks[0][1]
    assert first.observation_sequence == 1
    assert first.inference_ns == 120 * NS_PER_MS
    ends = [80 + 120 * (index + 1) for index in range(len(chunks))]
    assert [tick for tick, _ in chunks] == [(end - 1) // 50 for end in ends]
    assert runtime.now_ns == 38 * TICK_NS


def test_the_same_calls_come_out_the_same() -> None:
    config = SchedulingConfig()
    one, other = (played(30, config, act_ms=70, plan_ms=200)[1] for _ in range(2))
    assert len(one) > 5
    for (tick, chunk), (other_tick, other_chunk) in zip(one, other, strict=True):
        assert tick == other_tick
        assert chunk.start_ns == other_chunk.start_ns
        np.testing.assert_array_equal(chunk.actions, other_chunk.actions)
