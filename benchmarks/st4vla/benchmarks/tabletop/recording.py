"""Record one scripted episode: what the cameras saw, what the arm did, and where things truly were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from st4vla.benchmarks.tabletop.assets import OBJECTS
from st4vla.benchmarks.tabletop.cameras import Box, Cameras
from st4vla.benchmarks.tabletop.scripted import ScriptedPick
from st4vla.benchmarks.tabletop.workspace import vector_from_rotation
from st4vla.benchmarks.tabletop.world import ArmState, Tabletop

STATE_NAMES = ("x_m", "y_m", "z_m", "rx_rad", "ry_rad", "rz_rad", "gripper_width_m")
ACTION_NAMES = ("dx_m", "dy_m", "dz_m", "rx_rad", "ry_rad", "rz_rad", "gripper")
MAX_STEPS = 200

Pictures = Mapping[str, npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Annotated:
    """Pictures with the true box of each thing that each camera sees, by camera and thing."""

    frame_index: int
    pictures: Pictures
    boxes: Mapping[str, Mapping[str, Box]]


@dataclass
class Recording:
    """An episode.

    Attributes:
        task: The instruction.
        lifted: Whether the thing hung from the gripper in the end.
        pictures: For each step the pictures by camera, uint8 [H, W, 3].
        states: For each step what the arm measured, [7] as `STATE_NAMES`.
        actions: For each step the action that was taken then, [7] as `ACTION_NAMES`.
        annotated: Some of the steps, with true boxes.
    """

    task: str
    lifted: bool = False
    pictures: list[Pictures] = field(default_factory=list)
    states: list[npt.NDArray[np.float32]] = field(default_factory=list)
    actions: list[npt.NDArray[np.float32]] = field(default_factory=list)
    annotated: list[Annotated] = field(default_factory=list)


def record_pick(world: Tabletop, cameras: Cameras, seed: int, *, box_every: int) -> Recording:
    """Reset the world and let the scripted pick lift one of its things, which the seed chooses.

    Args:
        world: The tabletop; it is reset.
        cameras: Its cameras.
        seed: Where things lie, and which of them is picked.
        box_every: Steps from one annotated step to the next.
    """
    world.reset(seed)
    name = sorted(OBJECTS)[seed % len(OBJECTS)]
    policy = ScriptedPick(name)
    recording = Recording(f"pick up the {name}")
    for step in range(MAX_STEPS):
        pictures = cameras.render()
        if step % box_every == 0:
            recording.annotated.append(Annotated(step, pictures, cameras.boxes()))
        state = world.robot_state
        action = policy.act(state, world.object_poses)
        recording.pictures.append(pictures)
        recording.states.append(state_vector(state))
        recording.actions.append(action.astype(np.float32))
        world.step(action)
        if policy.done:
            recording.lifted = True
            break
    return recording


def look_at_scene(world: Tabletop, cameras: Cameras, seed: int) -> Annotated:
    """Reset the world and annotate what its cameras see before anything moves."""
    world.reset(seed)
    return Annotated(0, cameras.render(), cameras.boxes())


def state_vector(state: ArmState) -> npt.NDArray[np.float32]:
    """Return the pose of the hand in the base frame and the gripper's opening, [7] as `STATE_NAMES`."""
    turn = vector_from_rotation(state.base_T_ee[:3, :3])
    return np.concatenate([state.base_T_ee[:3, 3], turn, [state.gripper_width_m]]).astype(np.float32)
