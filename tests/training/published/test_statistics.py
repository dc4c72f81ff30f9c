"""Tests of the action statistics of a published run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from st4vla.contracts.action import NormalizationMode
from st4vla.contracts.errors import FileMissingError, ManifestError, UsageError
from st4vla.contracts.messages import ActionRepresentation
from st4vla.training.published.statistics import Embodiment, action_spec, choose, read_statistics

QUANTILE, BINARY, IDENTITY = NormalizationMode.QUANTILE, NormalizationMode.BINARY, NormalizationMode.IDENTITY
GRIPPER = [True] * 6 + [False]


def read(folder: Path, document: object, action_dim: int = 7) -> dict[str, Embodiment]:
    (folder / "dataset_statistics.json").write_text(json.dumps(document))
    return read_statistics(folder, action_dim)


def test_every_embodiment_has_its_statistics_and_modes(tmp_path: Path, stats: Callable[..., Any]) -> None:
    found = read(tmp_path, {"oxe_bridge": stats(GRIPPER), "oxe_rt1": stats([True] * 5 + [False] * 2)})
    assert list(found) == ["oxe_bridge", "oxe_rt1"]
    assert found["oxe_bridge"].modes == (QUANTILE,) * 6 + (BINARY,)
    assert found["oxe_rt1"].modes == (QUANTILE,) * 5 + (IDENTITY, BINARY)
    assert found["oxe_bridge"].statistics.q99 == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    assert found["oxe_bridge"].statistics.min == (-2.0, -4.0, -6.0, -8.0, -10.0, -12.0, -14.0)


def test_a_missing_mask_is_true_throughout(tmp_path: Path, stats: Callable[..., Any]) -> None:
    entry = stats(GRIPPER)
    del entry["action"]["mask"]
    assert read(tmp_path, {"franka": entry})["franka"].modes == (QUANTILE,) * 7


def test_embodiments_that_agree_are_all_kept_and_one_can_be_chosen(tmp_path: Path, stats: Callable[..., Any]) -> None:
    found = read(tmp_path, {"oxe_bridge": stats(GRIPPER), "oxe_rt1": stats(GRIPPER)})
    assert choose(found, None) == found
    assert list(choose(found, "oxe_rt1")) == ["oxe_rt1"]


def test_embodiments_that_disagree_are_named_and_one_must_be_chosen(tmp_path: Path, stats: Callable[..., Any]) -> None:
    found = read(tmp_path, {"oxe_bridge": stats(GRIPPER), "new": stats([True] * 7)})
    with pytest.raises(UsageError, match=r"--embodiment: oxe_bridge: quantile, .*binary; new: quantile"):
        choose(found, None)
    assert list(choose(found, "new")) == ["new"]
    with pytest.raises(UsageError, match="known are new, oxe_bridge"):
        choose(found, "franka")


def test_seven_dimensions_are_deltas_of_the_end_effector_and_others_of_joints() -> None:
    spec = action_spec((QUANTILE,) * 6 + (BINARY,), 8, 20)
    assert spec.names == ("dx_m", "dy_m", "dz_m", "rx_rad", "ry_rad", "rz_rad", "gripper")
    assert (spec.representation, spec.gripper_index) == (ActionRepresentation.EE_DELTA, 6)
    assert (spec.horizon, spec.period_ns) == (8, 50_000_000)
    joints = action_spec((QUANTILE,) * 7 + (BINARY,), 16, 3)
    assert joints.names[:2] == ("action_0", "action_1")
    assert (joints.representation, joints.gripper_index) == (ActionRepresentation.JOINT_DELTA, 7)
    assert joints.period_ns == 333_333_333


def test_statistics_that_do_not_fit_are_refused(tmp_path: Path, stats: Callable[..., Any]) -> None:
    with pytest.raises(FileMissingError, match="robot's units"):
        read_statistics(tmp_path, 7)
    with pytest.raises(ManifestError, match=r"'franka' need 8 numbers each; .*q01 7, .*mask 7"):
        read(tmp_path, {"franka": stats(GRIPPER)}, 8)
    with pytest.raises(ManifestError, match="at least one"):
        read(tmp_path, {})
    with pytest.raises(ManifestError, match="missing required field `action`"):
        read(tmp_path, {"franka": {"state": {}}})
    incomplete = stats(GRIPPER)
    del incomplete["action"]["q99"]
    with pytest.raises(ManifestError, match="missing required field `q99`"):
        read(tmp_path, {"franka": incomplete})
