"""Tests of the judge: what it asks, and what it makes of answers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from st4vla.contracts.action import ActionNormalizer
from st4vla.contracts.manifests import Bundle
from st4vla.export.quantization.deviation import ActionJudge, Deviation
from st4vla.export.quantization.frames import Frame
from st4vla.export.quantization.sensitivity import Bounds
from st4vla.runtime.golden import load_golden_chunk


@pytest.fixture(scope="session")
def frames(tiny: Bundle) -> list[Frame]:
    known, _ = load_golden_chunk(tiny)
    first = Frame(known["views"], known["token_ids"], known["noise"], "pick up the red cube")
    return [first, Frame(255 - first.views, first.token_ids, -first.noise, first.instruction)]


@pytest.fixture(scope="session")
def judge(tiny: Bundle, paths: dict[str, Path], frames: list[Frame]) -> Iterator[ActionJudge]:
    manifest = tiny.manifest
    normalizer = ActionNormalizer(manifest.action, manifest.statistics)
    with ActionJudge(paths, frames, manifest.action, normalizer, manifest.sampler.num_steps) as made:
        yield made


@pytest.fixture
def altered(paths: dict[str, Path], tmp_path: Path) -> Callable[[str, str, np.ndarray | float], Path]:
    """Write a graph whose output is multiplied with numbers."""

    def write(graph: str, output: str, factor: np.ndarray | float) -> Path:
        model = onnx.load(paths[graph])
        for node in model.graph.node:
            node.output[:] = ["before" if name == output else name for name in node.output]
        numbers = onnx.numpy_helper.from_array(np.asarray(factor, np.float32), "factor")
        model.graph.initializer.append(numbers)
        model.graph.node.append(onnx.helper.make_node("Mul", ["before", "factor"], [output]))
        path = tmp_path / f"{graph}.onnx"
        onnx.save(model, path)
        return path

    return write


def test_the_same_graphs_do_nothing_to_the_actions(judge: ActionJudge, paths: dict[str, Path]) -> None:
    for changed in ({}, dict(paths)):
        found = judge.deviation(changed)
        assert found.cosine == pytest.approx(1, abs=1e-12)
        assert found.trajectory_cosine == pytest.approx(1, abs=1e-12)
        assert found.joint_error_rad == 0
        assert found.distance == pytest.approx(0, abs=1e-12)
        assert Bounds(min_cosine=1 - 1e-9, max_joint_error_rad=1e-9).hold(found)


def test_float32_actions_are_those_that_the_runtime_draws(
    judge: ActionJudge, tiny: Bundle, frames: list[Frame]
) -> None:
    known, actions = load_golden_chunk(tiny)
    unguided = {"prefix": np.zeros_like(known["prefix"]), "prefix_weights": np.zeros_like(known["prefix_weights"])}
    assert judge.actions(0).shape == actions.shape
    chunk = frames[0].noise
    feeds = judge.feeds("sampler")
    steps = tiny.manifest.sampler.num_steps
    assert len(feeds) == steps * len(frames)
    np.testing.assert_array_equal(feeds[0]["chunk"], chunk)
    assert all((each[name] == unguided[name]).all() for each in feeds for name in unguided)
    assert [int(each["timestep"][0]) for each in feeds[:steps]] == sorted(
        (int(each["timestep"][0]) for each in feeds[:steps]), reverse=True
    )


@pytest.mark.parametrize(
    ("graph", "output"), [("planner", "plan_values"), ("bridge", "condition"), ("sampler", "next_chunk")]
)
def test_a_change_of_any_graph_shows_in_the_actions(
    judge: ActionJudge, altered: Callable[..., Path], graph: str, output: str
) -> None:
    found = judge.deviation({graph: altered(graph, output, 0.9)})
    assert found.cosine < 1 - 1e-6
    assert found.trajectory_cosine <= found.cosine
    assert found.joint_error_rad > 1e-5


def test_the_worst_frame_counts(judge: ActionJudge, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for count, wanted in ((None, Deviation(0.9, 0.7, 0.2)), (1, Deviation(0.9, 0.8, 0.1))):
        found = iter((Deviation(0.9, 0.8, 0.1), Deviation(0.95, 0.7, 0.2)))
        monkeypatch.setattr(judge, "_compare", lambda expected, actual, found=found: next(found))
        assert judge.deviation({"sampler": paths["sampler"]}, count) == wanted


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_actions_that_are_not_numbers_never_pass(
    judge: ActionJudge, altered: Callable[..., Path], number: float
) -> None:
    found = judge.deviation({"sampler": altered("sampler", "next_chunk", number)})
    assert found.cosine == found.trajectory_cosine == -1
    assert not found.joint_error_rad < np.inf
    loosest = Bounds(min_cosine=-1, max_joint_error_rad=1e9)
    assert not loosest.hold(found)
    assert loosest.share_allowed(found) == 0


def test_a_frame_that_is_no_number_counts_wherever_it_comes(
    judge: ActionJudge, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for order in ((0.0, np.nan), (np.nan, 0.0)):
        errors = iter(order)
        monkeypatch.setattr(judge, "_compare", lambda expected, actual, errors=errors: Deviation(1, 1, next(errors)))
        assert np.isnan(judge.deviation({"sampler": paths["sampler"]}).joint_error_rad)


def test_ranges_are_those_of_what_float32_graphs_were_given(judge: ActionJudge, frames: list[Frame]) -> None:
    planner, bridge = judge.feeds("planner"), judge.feeds("bridge")
    assert len(planner) == len(bridge) == len(frames)
    for frame, asked, bridged in zip(frames, planner, bridge, strict=True):
        assert set(asked) == {"views", "token_ids"}
        assert set(bridged) == {"views", "plan_keys", "plan_values"}
        np.testing.assert_array_equal(bridged["views"], frame.views)


def test_bounds_want_both_the_cosine_and_the_joints() -> None:
    bounds = Bounds(0.99, 0.02)
    assert bounds.hold(Deviation(0.99, 0.5, 0.02))
    assert not bounds.hold(Deviation(0.9899, 1, 0.02))
    assert not bounds.hold(Deviation(1, 1, 0.0201))
    assert not bounds.hold(Deviation(1, 1, np.nan))


@pytest.mark.parametrize(
    ("cosine", "joints", "share"),
    [(0.96, 0.01, 0.25), (0.999, 0.04, 0.25), (0.98, 0.2, 0.01), (-1, np.nan, 0), (0.9, np.inf, 0)],
)
def test_the_share_that_may_stay_is_that_of_the_stricter_bound(cosine: float, joints: float, share: float) -> None:
    # A cosine's distance is a square of errors, an angle of a joint is not.
    assert Bounds(0.99, 0.02).share_allowed(Deviation(cosine, cosine, joints)) == pytest.approx(share)


def test_no_distance_at_all_is_divided_by() -> None:
    assert Bounds(0.99, 0.02).share_allowed(Deviation(1, 1, 0)) > 1
