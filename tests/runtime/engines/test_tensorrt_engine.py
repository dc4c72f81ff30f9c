"""Tests of the run-time half of TensorRT on a fake GPU: order of calls, addresses, shapes, and what is given back."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from st4vla.contracts.errors import EngineError, EngineInputError
from st4vla.contracts.tensor_spec import GraphTensors, SizeRange, TensorSpec
from st4vla.runtime.engines.engine import Array, Engine
from st4vla.runtime.engines.fake_gpu import FakeEngine, FakeGpu
from st4vla.runtime.engines.tensorrt_engine import MAX_GRAPHS, TensorRtEngine

SUM = GraphTensors(
    "sum",
    (TensorSpec("a", "float32", ("L", 3)), TensorSpec("b", "int64", (1,))),
    (TensorSpec("c", "float32", ("L", 3)),),
    {"L": SizeRange(1, 4, 40)},
)
STEP = GraphTensors(
    "step",
    (
        TensorSpec("x", "float32", (1, 5)),
        TensorSpec("factor", "float32", (2,)),
        TensorSpec("time", "int64", (1,)),
        TensorSpec("shift", "float32", (1, 5)),
    ),
    (TensorSpec("y", "float32", (1, 5)), TensorSpec("whole", "float32", (1,))),
    {},
)


def add(feeds: Mapping[str, Array]) -> dict[str, Array]:
    return {"c": feeds["a"] + feeds["b"].astype(np.float32)}


def step(feeds: Mapping[str, Array]) -> dict[str, Array]:
    y = feeds["x"] * feeds["factor"][0] + feeds["shift"] * feeds["factor"][1] + feeds["time"]
    return {"y": y.astype(np.float32), "whole": y.sum(dtype=np.float32).reshape(1)}


class HostEngine(Engine):
    """Runs the same on the host, by way of the default of `iterate`."""

    def _run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return step(feeds)


def fake(gpu: FakeGpu, tensors: GraphTensors, compute: Any) -> FakeEngine:
    dtypes = {spec.name: spec.dtype for spec in (*tensors.inputs, *tensors.outputs)}
    return FakeEngine(gpu, dtypes, len(tensors.inputs), compute)


def feeds(length: int, offset: int) -> dict[str, Array]:
    return {"a": np.arange(3 * length, dtype=np.float32).reshape(length, 3), "b": np.array([offset])}


def step_feeds() -> tuple[dict[str, Array], list[dict[str, Array]]]:
    rng = np.random.default_rng(3)
    given = {name: rng.standard_normal((1, 5)).astype(np.float32) for name in ("x", "shift")}
    steps: list[dict[str, Array]] = [
        {"factor": rng.standard_normal(2).astype(np.float32), "time": np.array([index])} for index in range(7)
    ]
    return given, steps


def test_the_second_call_launches_what_the_first_recorded_with_what_it_is_given() -> None:
    gpu = FakeGpu()
    with TensorRtEngine(SUM, fake(gpu, SUM, add), gpu, urgent=True) as engine:
        for offset in range(4):
            np.testing.assert_array_equal(engine.run(feeds(4, offset))["c"], add(feeds(4, offset))["c"])
        assert gpu.calls["launch"] == 3
        assert gpu.calls["create_urgent_stream"] == 1
        # Two inputs and one output, in the eager call and in the recording.
        assert (gpu.calls["upload"], gpu.calls["download"]) == (4, 2)


def test_answers_are_not_overwritten_by_the_next_call() -> None:
    gpu = FakeGpu()
    with TensorRtEngine(SUM, fake(gpu, SUM, add), gpu, urgent=False) as engine:
        first = engine.run(feeds(4, 0))["c"]
        engine.run(feeds(4, 9))
        np.testing.assert_array_equal(first, add(feeds(4, 0))["c"])


def test_another_length_is_recorded_anew_and_the_old_recording_kept() -> None:
    gpu = FakeGpu()
    with TensorRtEngine(SUM, fake(gpu, SUM, add), gpu, urgent=False) as engine:
        for length in (4, 7, 4, 7, 40):
            np.testing.assert_array_equal(engine.run(feeds(length, length))["c"], add(feeds(length, length))["c"])
        assert (gpu.calls["end_capture"], gpu.calls["launch"]) == (3, 2)


def test_recordings_are_bounded() -> None:
    gpu = FakeGpu()
    with TensorRtEngine(SUM, fake(gpu, SUM, add), gpu, urgent=False) as engine:
        for length in range(1, MAX_GRAPHS + 4):
            engine.run(feeds(length, 0))
        assert gpu.calls["destroy_graph"] == 3


def test_a_length_that_no_buffer_was_made_for_is_refused() -> None:
    gpu = FakeGpu()
    with (
        TensorRtEngine(SUM, fake(gpu, SUM, add), gpu, urgent=False) as engine,
        pytest.raises(EngineError, match="L = 41, but it was built for 1 to 40"),
    ):
        engine.run(feeds(41, 0))


def test_steps_stay_on_the_gpu_and_give_what_the_host_s_steps_give() -> None:
    gpu = FakeGpu()
    given, steps = step_feeds()
    expected = HostEngine(STEP).iterate(given, steps, {"y": "x"})
    with TensorRtEngine(STEP, fake(gpu, STEP, step), gpu, urgent=True) as engine:
        for _ in range(3):
            answer = engine.iterate(given, steps, {"y": "x"})
            for name, value in expected.items():
                np.testing.assert_array_equal(answer[name], value)
        # Each time two inputs and two tables go up, and two outputs come down, whatever the number of steps.
        assert (gpu.calls["upload"], gpu.calls["download"], gpu.calls["launch"]) == (8, 4, 2)
        one = engine.run({**given, **steps[0]})
        np.testing.assert_array_equal(one["y"], step({**given, **steps[0]})["y"])


def test_more_steps_than_before_drop_recordings_that_read_the_smaller_table() -> None:
    gpu = FakeGpu()
    given, steps = step_feeds()
    with TensorRtEngine(STEP, fake(gpu, STEP, step), gpu, urgent=True) as engine:
        for count in (3, 7, 3, 7):
            expected = HostEngine(STEP).iterate(given, steps[:count], {"y": "x"})
            answer = engine.iterate(given, steps[:count], {"y": "x"})
            np.testing.assert_array_equal(answer["y"], expected["y"])


def test_an_engine_that_cannot_be_recorded_runs_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    gpu = FakeGpu()
    gpu.refuses_capture = True
    with TensorRtEngine(SUM, fake(gpu, SUM, add), gpu, urgent=False) as engine:
        for offset in range(3):
            np.testing.assert_array_equal(engine.run(feeds(4, offset))["c"], add(feeds(4, offset))["c"])
    (record,) = caplog.records
    assert "'sum' cannot be recorded as a CUDA graph and runs step by step: cuStreamEndCapture failed" in record.message


def test_everything_is_given_back() -> None:
    gpu = FakeGpu()
    given, steps = step_feeds()
    with TensorRtEngine(STEP, fake(gpu, STEP, step), gpu, urgent=True) as engine:
        engine.iterate(given, steps, {"y": "x"})
        engine.run({**given, **steps[0]})
        assert gpu.leaks > 0
    assert gpu.leaks == 0


def test_an_engine_may_be_called_from_another_thread_than_it_was_made_in() -> None:
    gpu = FakeGpu()
    answers: list[Array] = []
    with TensorRtEngine(SUM, fake(gpu, SUM, add), gpu, urgent=False) as engine:
        thread = threading.Thread(target=lambda: answers.append(engine.run(feeds(4, 1))["c"]))
        thread.start()
        thread.join()
    np.testing.assert_array_equal(answers[0], add(feeds(4, 1))["c"])


def test_feeds_are_checked_before_the_gpu_sees_them() -> None:
    gpu = FakeGpu()
    given, steps = step_feeds()
    with TensorRtEngine(STEP, fake(gpu, STEP, step), gpu, urgent=True) as engine:
        with pytest.raises(EngineInputError, match="missing: \\['shift'\\]"):
            engine.iterate({"x": given["x"]}, steps, {"y": "x"})
        assert gpu.calls["upload"] == 0


def test_an_engine_of_other_tensors_is_refused() -> None:
    gpu = FakeGpu()
    with pytest.raises(EngineError, match=r"engine 'step' has the tensors \['a', 'b', 'c'\]; the bundle says"):
        TensorRtEngine(STEP, fake(gpu, SUM, add), gpu, urgent=False)
