"""What another way to resize does to a policy's actions, on the tabletop as a camera of 640 x 480 pixels sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from st4vla.benchmarks.resizers import REFERENCE, Pixels, Resizer
from st4vla.benchmarks.tabletop.assets import OBJECTS
from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.scripted import ScriptedPick
from st4vla.benchmarks.tabletop.world import Tabletop
from st4vla.runtime.policy import Policy, Views

HEADER = ("instead of Pillow bicubic", "normalised", "mm", "mrad", "mm at the end", "mrad at the end", "gripper")
#: Beside the methods, to compare with: the same pictures, and noise of another seed.
OTHER_NOISE = "other noise, same pictures"
#: Grippers go from 0 to 1; by so much, what was open is closed.
GRIPPER_TURNS = 0.5

Actions = npt.NDArray[np.float32]
Frame = Mapping[str, Pixels]


class ActionDifference(msgspec.Struct, frozen=True):
    """The largest differences in actions from those on Pillow's bicubic, over all frames and moments of a chunk.

    Attributes:
        method: What was used instead.
        normalised: In the policy's units, in which its range is -1 to 1.
        mm: Of a dimension in metres, in millimetres.
        mrad: Of a dimension in radians, in milliradians.
        path_mm: The same for the sum of a chunk's actions up to a moment: where deltas bring the hand.
        path_mrad: The same for angles.
        grippers: Share of the moments at which the gripper is told something else.
    """

    method: str
    normalised: float
    mm: float
    mrad: float
    path_mm: float
    path_mrad: float
    grippers: float

    def row(self) -> tuple[object, ...]:
        """Return a table's row, under `HEADER`."""
        numbers = (self.normalised, self.mm, self.mrad, self.path_mm, self.path_mrad)
        return (self.method, *(f"{number:.2g}" for number in numbers), f"{self.grippers:.1%}")


def tabletop_frames(count: int, *, height: int = 480, width: int = 640, seed: int = 0, every: int = 8) -> list[Frame]:
    """Return what the tabletop's cameras see at every n-th step of a scripted pick, RGB uint8 [height, width, 3]."""
    frames: list[Frame] = []
    with Tabletop(seed=seed) as world, Cameras(world, height=height, width=width) as cameras:
        arm = ScriptedPick(sorted(OBJECTS)[seed % len(OBJECTS)])
        while len(frames) < count:
            frames.append(cameras.render())
            for _ in range(every):
                world.step(arm.act(world.robot_state, world.object_poses))
    return frames


def action_differences(
    policy: Policy,
    frames: Sequence[Frame],
    methods: Mapping[str, Resizer],
    *,
    instruction: str = "pick up the can",
    seed: int = 0,
) -> tuple[ActionDifference, ...]:
    """Return for each method but Pillow's bicubic what it does to the actions, and what other noise does.

    Args:
        policy: Its views' names are the frames'.
        frames: Pictures by view, of any size.
        methods: By name, `REFERENCE` among them.
        instruction: What the policy is told.
        seed: Of the noise at every frame.

    Raises:
        EngineError: An engine failed.
    """
    expected = [_act(policy, _views(policy, frame, methods[REFERENCE]), instruction, seed) for frame in frames]
    found = {
        name: [_act(policy, _views(policy, frame, method), instruction, seed) for frame in frames]
        for name, method in methods.items()
        if name != REFERENCE
    }
    found[OTHER_NOISE] = [
        _act(policy, _views(policy, frame, methods[REFERENCE]), instruction, seed + 1) for frame in frames
    ]
    return tuple(_difference(policy, name, np.stack(expected), np.stack(each)) for name, each in found.items())


def _views(policy: Policy, frame: Frame, method: Resizer) -> Views:
    return np.stack([method(frame[view.name], view.height, view.width) for view in policy.info.views])


def _act(policy: Policy, views: Views, instruction: str, seed: int) -> Actions:
    return policy.act(views, policy.plan(views, instruction), seed).actions


def _difference(policy: Policy, method: str, expected: Actions, found: Actions) -> ActionDifference:
    spec = policy.info.action
    robot = [np.stack([policy.unnormalize(chunk) for chunk in chunks]) for chunks in (expected, found)]
    off = robot[1].astype(np.float64) - robot[0]
    metres, radians = ([i for i, name in enumerate(spec.names) if name.endswith(unit)] for unit in ("_m", "_rad"))
    path = off.cumsum(axis=1)
    return ActionDifference(
        method,
        normalised=float(np.abs(found - expected).max()),
        mm=_largest(off[..., metres]) * 1e3,
        mrad=_largest(off[..., radians]) * 1e3,
        path_mm=_largest(path[..., metres]) * 1e3,
        path_mrad=_largest(path[..., radians]) * 1e3,
        grippers=0.0
        if spec.gripper_index is None
        else float((np.abs(off[..., spec.gripper_index]) > GRIPPER_TURNS).mean()),
    )


def _largest(numbers: npt.NDArray[np.float64]) -> float:
    return float(np.abs(numbers).max(initial=0.0))
