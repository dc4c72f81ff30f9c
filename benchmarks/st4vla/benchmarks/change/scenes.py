"""Episodes of a moving arm in which a thing jumps now and then, and ones in which none does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from st4vla.benchmarks.tabletop.assets import OBJECTS
from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.rounds import ScriptedRounds
from st4vla.benchmarks.tabletop.world import PLACE_HIGH_M, PLACE_LOW_M, Tabletop

JUMP_M = 0.10
#: Ticks before the first jump, in which a detector learns what is ordinary, and shortest and longest time from one jump
#: to the next: at 20 Hz, 10 s and 5 to 10 s.
FIRST_TICK, APART_TICKS = 200, (100, 200)
#: A thing jumps neither under the hand, nor onto another thing.
HAND_APART_M, THING_APART_M = 0.10, 0.07
PLACE_TRIES = 50

Array = npt.NDArray[np.float64]
Pictures = dict[str, npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Shot:
    """What the cameras see at a tick, and the name of the thing that jumped since the tick before, if any."""

    pictures: Pictures
    jumped: str | None


def shots(world: Tabletop, cameras: Cameras, seed: int, *, ticks: int, jumps: bool) -> Iterator[Shot]:
    """Play an episode of scripted rounds and yield what is seen at each tick.

    Args:
        world: The tabletop; it is reset.
        cameras: Its cameras.
        seed: Where things lie, which is picked first, when they jump and where to.
        ticks: Control periods.
        jumps: Whether any jump.
    """
    world.reset(seed)
    rng = np.random.default_rng(seed)
    arm = ScriptedRounds(seed)
    due = FIRST_TICK + int(rng.integers(APART_TICKS[0]))
    for tick in range(ticks):
        jumped = _jump(world, arm.held, rng) if jumps and tick >= due else None
        if jumped is not None:
            due = tick + int(rng.integers(*APART_TICKS))
        yield Shot(cameras.render(), jumped)
        world.step(arm.act(world.robot_state, world.object_poses))


def _jump(world: Tabletop, held: str | None, rng: np.random.Generator) -> str | None:
    """Let a thing lie 10 cm further in some direction and return its name; None where there is no room now."""
    places = {name: pose[:2, 3] for name, pose in world.object_poses.items()}
    hand = world.base_T_ee[:2, 3]
    name = sorted(OBJECTS)[rng.integers(len(OBJECTS))]
    for _ in range(PLACE_TRIES):
        angle = rng.uniform(0, 2 * np.pi)
        place = places[name] + JUMP_M * np.array([np.cos(angle), np.sin(angle)])
        free = all(_apart(place, other) > THING_APART_M for each, other in places.items() if each != name)
        clear = min(_apart(place, hand), _apart(places[name], hand)) > HAND_APART_M
        inside = bool((place > PLACE_LOW_M).all() and (place < PLACE_HIGH_M).all())
        if name != held and free and clear and inside:
            world.put(name, place)
            return name
    return None


def _apart(one: Array, other: Array) -> float:
    return float(np.linalg.norm(one - other))
