import ctypes

import pytest

from st4vla.contracts.errors import MissingExtraError, TransportError
from st4vla.contracts.messages import ActionRepresentation
from st4vla.contracts.staleness import AgeBounds, Staleness
from st4vla.runtime import native_library
from st4vla.runtime.bridge.player import NativePlayer, PlayerConfig, Robot


@pytest.mark.parametrize("robot", Robot)
def test_a_robots_default_is_a_config_that_makes_a_player(robot: Robot) -> None:
    config = PlayerConfig.default(robot)
    assert 0 < config.translation.velocity < config.translation.acceleration < config.translation.jerk
    player = NativePlayer(config)
    assert player.report().steps == 0
    assert player.rest_bound_ns > 0


def test_a_share_of_the_dynamics_leaves_the_rest_as_it_was() -> None:
    full, tenth = PlayerConfig.default(), PlayerConfig.default()
    tenth.scale(0.1)
    for name in ("velocity", "acceleration", "jerk"):
        assert getattr(tenth.rotation, name) == pytest.approx(0.1 * getattr(full.rotation, name))
        assert getattr(tenth.joints[3], name) == pytest.approx(0.1 * getattr(full.joints[3], name))
    assert tenth.workspace_high_m[:] == full.workspace_high_m[:]
    assert NativePlayer(tenth).rest_bound_ns > 0


def test_a_servers_bounds_replace_only_those_that_it_has() -> None:
    config = PlayerConfig.default()
    plan_hold_ns = config.plan.hold_ns
    config.set_staleness(Staleness(frame=AgeBounds(0, 70_000_000, 90_000_000)))
    assert (config.frame.hold_ns, config.frame.stop_ns, config.plan.hold_ns) == (70_000_000, 90_000_000, plan_hold_ns)


def test_chunks_of_joints_have_as_many_joints_as_numbers_without_the_gripper() -> None:
    config = PlayerConfig.default()
    config.set_actions(ActionRepresentation.JOINT_POSITION, 8, 7)
    assert (config.joint_count, config.gripper_index) == (7, 7)
    NativePlayer(config)


def test_a_config_that_is_none_is_refused_in_words() -> None:
    config = PlayerConfig.default()
    config.translation.velocity = -1.0
    with pytest.raises(TransportError, match="the player refused"):
        NativePlayer(config)


def test_only_a_player_that_has_stopped_resumes() -> None:
    with pytest.raises(TransportError, match="the player refused"):
        NativePlayer(PlayerConfig.default()).resume()


def test_a_library_that_is_not_there_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_library, "candidates", lambda name, version: (f"/nowhere/lib{name}.so.{version}",))
    with pytest.raises(MissingExtraError, match="make ctest"):
        native_library.load("st4vla_bridge", 1)


def test_the_layout_is_that_of_the_library() -> None:
    # A field in another place would have another value.
    config = PlayerConfig.default()
    assert config.gripper_close_below < config.gripper_open_above
    assert config.turn_rad == pytest.approx(3.141592653589793)
    assert ctypes.sizeof(PlayerConfig) % 8 == 0
