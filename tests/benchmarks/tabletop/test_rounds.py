import numpy as np

from st4vla.benchmarks.tabletop.assets import OBJECTS
from st4vla.benchmarks.tabletop.rounds import ScriptedRounds
from st4vla.benchmarks.tabletop.world import Tabletop


def test_one_thing_after_another_is_lifted_and_put_back_where_it_lay() -> None:
    with Tabletop(seed=3) as world:
        places = {name: pose[:2, 3] for name, pose in world.object_poses.items()}
        arm, lifted = ScriptedRounds(0), list[str]()
        for _ in range(200):
            world.step(arm.act(world.robot_state, world.object_poses))
            for name, pose in world.object_poses.items():
                if pose[2, 3] > 0.1 and name not in lifted:
                    lifted.append(name)
        assert lifted == sorted(OBJECTS)
        for name, pose in world.object_poses.items():
            if name == arm.held:
                continue
            # The ball rolls a little.
            assert np.linalg.norm(pose[:2, 3] - places[name]) < 0.06, name
            assert pose[2, 3] < 0.04, name


def test_what_is_held_is_named_from_closing_the_fingers_until_they_are_open() -> None:
    with Tabletop(seed=3) as world:
        arm, held = ScriptedRounds(1), list[str | None]()
        for _ in range(70):
            action = arm.act(world.robot_state, world.object_poses)
            held.append(arm.held)
            assert action[6] > 0 or arm.held is not None
            world.step(action)
    assert {None, "green cylinder"} <= set(held)
