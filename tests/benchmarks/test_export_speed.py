"""Tests of what is compared with eager PyTorch, on the tiny policy and on made-up times."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from st4vla.benchmarks.export_speed import Comparison, Cost, EngineSide
from st4vla.contracts.manifests import Bundle
from st4vla.export.eager import EagerPolicy
from st4vla.export.quantization.frames import Frame
from st4vla.runtime.golden import load_golden_chunk
from st4vla.training.checkpoint import init_checkpoint

TINY = Path(__file__).parents[2] / "bundles" / "tiny"


def test_engines_and_eager_pytorch_draw_the_same_chunks(tmp_path: Path) -> None:
    bundle = Bundle(TINY)
    given, _ = load_golden_chunk(bundle)
    frame = Frame(given["views"], given["token_ids"], given["noise"], "")
    eager = EagerPolicy(init_checkpoint("tiny", 0))
    expected = eager.act(eager.plan(frame.views, frame.token_ids), frame.views, frame.noise)
    with ExitStack() as stack:
        side = EngineSide(bundle, tmp_path, 1, stack)
        found = side.trajectory(frame)
        actions = side.act(side.plan(frame), frame)
    assert len(found) == len(expected) == bundle.manifest.sampler.num_steps
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
    np.testing.assert_array_equal(actions, found[-1])


def test_what_falls_short_of_its_bar_is_named() -> None:
    times = {"eager": (400.0, 800.0), "float32": (200.0, 400.0), "quantised": (100.0, 400.0)}
    costs = tuple(Cost(part, side, each) for part in ("system1", "planner") for side, each in times.items())
    found = Comparison(costs, {"float32": 1.0, "quantised": -1.0})
    assert found.ratio("planner", "float32") == pytest.approx(2.0)
    assert found.ratio("planner", "quantised") == pytest.approx(3.0)
    assert found.missed() == [
        "system1, quantised: 3.00 times eager PyTorch, wanted 3.5",
        "quantised: cosine -1.000000, wanted 0.999",
    ]
