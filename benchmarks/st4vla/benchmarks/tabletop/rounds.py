"""A scripted arm that never rests: it picks one thing after another and puts each back where it lay."""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from st4vla.benchmarks.tabletop.assets import OBJECTS
from st4vla.benchmarks.tabletop.scripted import ABOVE_M, NEAR_M, ScriptedPick, toward
from st4vla.benchmarks.tabletop.world import ArmState

Array = NDArray[np.float64]

#: A pick that takes longer has failed.
PICK_STEPS = 60
#: Steps until the fingers are open, and after which a way down or up is given up.
OPEN_STEPS, WAY_STEPS = 6, 30


class Way(Enum):
    """What the arm is doing."""

    PICK = "pick"
    LOWER = "lower"
    OPEN = "open"
    RAISE = "raise"


class ScriptedRounds:
    """Pick, lower, open, raise, and on to the next thing; each call gives one action.

    Args:
        first: Number of the thing to begin with.

    Attributes:
        held: Name of the thing that is between the fingers or about to be, or None.
    """

    def __init__(self, first: int = 0) -> None:
        self.held: str | None = None
        self._number = first
        self._way, self._steps = Way.PICK, 0
        self._pick = self._next_pick()
        self._goal = np.eye(4)

    def act(self, state: ArmState, object_poses: dict[str, Array]) -> Array:
        """Give the next action, [7] as `Tabletop.step` takes it, from what is now true of the world."""
        self._steps += 1
        if self._way is Way.PICK:
            if not self._pick.done and self._steps <= PICK_STEPS:
                action = self._pick.act(state, object_poses)
                # The fingers close.
                self.held = self._pick.name if action[6] == 0.0 else None
                return action
            self._lower(state, object_poses) if self._pick.done else self._raise(state)
        if self._way is Way.LOWER and self._arrived(state):
            self._go(Way.OPEN)
        if self._way is Way.OPEN and self._steps > OPEN_STEPS:
            self._raise(state)
        if self._way is Way.RAISE and self._arrived(state):
            self._go(Way.PICK)
            self._pick = self._next_pick()
        return toward(self._goal, state, opening=0.0 if self._way is Way.LOWER else 1.0)

    def _lower(self, state: ArmState, object_poses: dict[str, Array]) -> None:
        name = self._pick.name
        self._goal = state.base_T_ee.copy()
        self._goal[2, 3] -= object_poses[name][2, 3] - OBJECTS[name].rest_height_m
        self._go(Way.LOWER)

    def _raise(self, state: ArmState) -> None:
        self._goal = state.base_T_ee.copy()
        self._goal[2, 3] = ABOVE_M
        self.held = None
        self._go(Way.RAISE)

    def _arrived(self, state: ArmState) -> bool:
        away_m = float(np.linalg.norm(self._goal[:3, 3] - state.base_T_ee[:3, 3]))
        return away_m < NEAR_M or self._steps > WAY_STEPS

    def _go(self, way: Way) -> None:
        self._way, self._steps = way, 0

    def _next_pick(self) -> ScriptedPick:
        pick = ScriptedPick(sorted(OBJECTS)[self._number % len(OBJECTS)])
        self._number += 1
        return pick
