import numpy as np
import pytest

from st4vla.contracts.action import ActionSpec, NormalizationMode
from st4vla.contracts.messages import ActionRepresentation
from st4vla.export.quantization.joints import READY_RAD, jacobian, joint_error_rad

HORIZON = 4
POSES = [READY_RAD, *np.random.default_rng(0).uniform(-1.5, 1.5, (4, 7))]


def spec(representation: ActionRepresentation, *, gripper: int | None = None) -> ActionSpec:
    size = (6 if representation is ActionRepresentation.EE_DELTA else 7) + (gripper is not None)
    modes = (NormalizationMode.QUANTILE,) * size
    return ActionSpec(tuple(map(str, range(size))), modes, gripper, representation, HORIZON, 50_000_000)


def test_the_fingertips_of_the_ready_pose_are_where_frankas_are() -> None:
    np.testing.assert_allclose(jacobian(READY_RAD)[0], [0.3069, 0.0, 0.4869], atol=1e-3)


@pytest.mark.parametrize("joints", POSES)
def test_the_jacobian_is_what_finite_differences_say(joints: np.ndarray) -> None:
    step = 1e-6
    columns = [(jacobian(joints + each)[0] - jacobian(joints - each)[0]) / (2 * step) for each in step * np.eye(7)]
    np.testing.assert_allclose(jacobian(joints)[1][:3], np.stack(columns, axis=1), atol=1e-8)


def test_the_last_joint_turns_about_the_approach_which_points_down_in_the_ready_pose() -> None:
    np.testing.assert_allclose(jacobian(READY_RAD)[1][3:, 6], [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(jacobian(READY_RAD)[1][:, 0], [0, 0.3069, 0, 0, 0, 1], atol=1e-3)


@pytest.mark.parametrize("joints", POSES)
def test_kinematics_agree_with_the_tabletops_panda(joints: np.ndarray) -> None:
    mujoco = pytest.importorskip("mujoco")
    panda = pytest.importorskip("st4vla.benchmarks.tabletop.panda")
    model = panda.panda_spec().compile()
    data = mujoco.MjData(model)
    names = [f"joint{number}" for number in range(1, 8)]
    spots = [model.joint(next(n for n in (name, f"robot0_{name}") if _has(model, n))) for name in names]
    for spot, angle in zip(spots, joints, strict=True):
        data.qpos[spot.qposadr[0]] = angle
    mujoco.mj_forward(model, data)
    moves, turns = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    site = model.site(panda.EE_SITE).id
    mujoco.mj_jacSite(model, data, moves, turns, site)
    columns = [spot.dofadr[0] for spot in spots]
    base, rotation = data.body("link0").xpos, data.body("link0").xmat.reshape(3, 3)
    approach = data.site(panda.EE_SITE).xmat.reshape(3, 3)[:, 2]
    # That point lies a little deeper in the hand.
    tip = rotation.T @ (data.site(panda.EE_SITE).xpos + (0.1034 - panda.EE_OFFSET_M) * approach - base)
    ours, our_jacobian = jacobian(joints)
    np.testing.assert_allclose(ours, tip, atol=2e-3)
    np.testing.assert_allclose(our_jacobian[3:], rotation.T @ turns[:, columns], atol=1e-4)
    shift = np.cross((rotation.T @ turns[:, columns]).T, rotation.T @ approach * (0.1034 - panda.EE_OFFSET_M)).T
    np.testing.assert_allclose(our_jacobian[:3], rotation.T @ moves[:, columns] + shift, atol=3e-3)


def _has(model: object, name: str) -> bool:
    try:
        model.joint(name)  # type: ignore[attr-defined]
    except KeyError:
        return False
    return True


def test_positions_of_joints_differ_by_their_difference() -> None:
    expected = np.random.default_rng(1).uniform(-1, 1, (HORIZON, 7))
    actual = expected.copy()
    actual[2, 4] -= 0.25
    actual[:, 1] += 0.125
    assert joint_error_rad(spec(ActionRepresentation.JOINT_POSITION), expected, actual) == pytest.approx(0.25)


def test_deltas_of_joints_add_up_along_the_chunk() -> None:
    expected = np.zeros((HORIZON, 7))
    actual = expected.copy()
    actual[:, 3] = (0.01, 0.01, 0.01, -0.03)
    assert joint_error_rad(spec(ActionRepresentation.JOINT_DELTA), expected, actual) == pytest.approx(0.03)


def test_movements_of_the_end_effector_become_those_of_joints() -> None:
    moved = jacobian(READY_RAD)[1]
    wanted = np.linalg.pinv(moved) @ moved @ np.array([0, 0.02, 0, -0.03, 0, 0.01, 0])
    actual = np.tile(moved @ wanted / HORIZON, (HORIZON, 1))
    found = joint_error_rad(spec(ActionRepresentation.EE_DELTA), np.zeros((HORIZON, 6)), actual)
    assert found == pytest.approx(np.abs(wanted).max())


@pytest.mark.parametrize("representation", ActionRepresentation)
@pytest.mark.parametrize("gripper", [0, 6])
def test_the_gripper_is_left_out(representation: ActionRepresentation, gripper: int) -> None:
    action = spec(representation, gripper=gripper)
    expected = np.random.default_rng(2).uniform(-0.1, 0.1, (HORIZON, action.dim))
    actual = expected.copy()
    actual[:, gripper] = 1 - actual[:, gripper]
    assert joint_error_rad(action, expected, actual) == 0
    actual[0, 1] += 0.01
    assert joint_error_rad(action, expected, actual) > 0


def test_actions_that_are_not_numbers_have_no_finite_error() -> None:
    actual = np.zeros((HORIZON, 7))
    actual[1, 2] = np.nan
    assert not joint_error_rad(spec(ActionRepresentation.JOINT_POSITION), np.zeros((HORIZON, 7)), actual) < np.inf
