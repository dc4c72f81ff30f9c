"""Tests of what a manifest says of smaller numbers."""

import msgspec
import pytest

from st4vla.contracts.manifests import ActionGate, GroundingGate, Parity, Quantization, precision_of


def actions(cosine: float = 0.9995, joints: float = 0.01) -> ActionGate:
    return ActionGate(16, cosine, cosine, joints, min_cosine=0.999, max_joint_error_rad=0.02)


def quantization(gate: ActionGate, grounding: GroundingGate | None = None) -> Quantization:
    precisions = {"planner": {"layers.0": "int4", "layers.1": "float16", "layers.2": "int4"}, "bridge": {}}
    return Quantization("tensorrt", precisions, gate, grounding, {"actions": Parity(0.1, 0.01, 0.999)}, ("too large",))


@pytest.mark.parametrize(
    ("cosine", "joints", "passed"),
    [
        (0.999, 0.02, True),
        (0.9989, 0.01, False),
        (1.0, 0.0201, False),
        (-1.0, 0.0, False),
        (float("nan"), 0.0, False),
        (1.0, float("nan"), False),
    ],
)
def test_actions_pass_where_both_of_their_bounds_hold(cosine: float, joints: float, passed: bool) -> None:
    assert actions(cosine, joints).passed is passed


@pytest.mark.parametrize(
    ("after", "passed"), [(60.0, True), (70.0, True), (59.01, True), (59.0, False), (0.0, False), (float("nan"), False)]
)
def test_boxes_pass_where_they_lose_less_than_is_allowed(after: float, passed: bool) -> None:
    assert GroundingGate(100, 60.0, after, max_drop=1.0).passed is passed


def test_a_policy_passes_where_all_that_was_measured_does() -> None:
    good, bad = GroundingGate(100, 60, 60, 1), GroundingGate(100, 60, 50, 1)
    assert quantization(actions()).passed
    assert quantization(actions(), good).passed
    assert not quantization(actions(), bad).passed
    assert not quantization(actions(0.5), good).passed


def test_precisions_are_said_in_words() -> None:
    found = quantization(actions())
    assert precision_of(found, "planner") == "float16+int4"
    assert precision_of(found, "bridge") == precision_of(found, "sampler") == precision_of(None, "planner") == "float32"


def test_what_was_measured_comes_back_from_json() -> None:
    found = quantization(actions(), GroundingGate(100, 60, 59.5, 1))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Quantization) == found
