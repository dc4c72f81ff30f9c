"""What a server asks of a policy, and the smallest policy there is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from st4vla.contracts.action import ActionSpec, NormalizationMode
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import ActionRepresentation
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.engines.engine import Array
from st4vla.runtime.noise import seeded_noise

Views = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PolicyInfo:
    """What a policy serves: its name, the SHA-256 of its manifest, its views in order and its actions."""

    name: str
    digest: bytes
    views: tuple[ViewSpec, ...]
    action: ActionSpec


@dataclass(frozen=True)
class PlanTensors:
    """What System 2 hands to System 1: named tensors, and the prompt's length in tokens."""

    tensors: Mapping[str, Array]
    token_count: int


class Acted(msgspec.Struct, frozen=True):
    """What System 1 made: normalised actions [T, A], and its visual tokens, averaged over cells [C, D], or None."""

    actions: npt.NDArray[np.float32]
    cells: npt.NDArray[np.float32] | None = None


class Policy(Protocol):
    """Both systems of one policy. `plan` and `act` are called from two threads at once."""

    info: PolicyInfo

    def plan(self, views: Views, instruction: str) -> PlanTensors:
        """Run System 2 on uint8 views [V, H, W, 3].

        Raises:
            PromptError: The instruction cannot become a prompt.
            EngineError: An engine failed.
        """
        ...

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        """Run System 1 on uint8 views [V, H, W, 3], holding to what a splice says.

        Raises:
            EngineError: An engine failed.
        """
        ...

    def unnormalize(self, actions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return actions [T, A] in the robot's units."""
        ...


@dataclass
class NullPolicy:
    """A policy that thinks nothing and takes as long as it is told: for tests and for measuring the transport.

    Attributes:
        plan_s: How long a plan takes.
        act_s: How long a chunk takes.
        horizon: T.
        image_size: Side of its two square views.
    """

    plan_s: float = 0.0
    act_s: float = 0.0
    horizon: int = 16
    image_size: int = 224
    info: PolicyInfo = field(init=False)

    def __post_init__(self) -> None:
        """Describe it as a seven-dimensional end-effector policy with two views."""
        names = ("dx_m", "dy_m", "dz_m", "rx_rad", "ry_rad", "rz_rad", "gripper")
        modes = (*[NormalizationMode.IDENTITY] * 6, NormalizationMode.BINARY)
        action = ActionSpec(names, modes, 6, ActionRepresentation.EE_DELTA, self.horizon, period_ns=50_000_000)
        views = tuple(ViewSpec(name, self.image_size, self.image_size) for name in ("agentview", "wrist"))
        self.info = PolicyInfo("null", bytes(32), views, action)

    def plan(self, views: Views, instruction: str) -> PlanTensors:
        """Wait, and count the instruction's words as tokens."""
        del views
        if self.plan_s:
            time.sleep(self.plan_s)
        return PlanTensors({}, len(instruction.split()))

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        """Wait, and return the seed's noise drawn to the splice's prefix, so that chunks of different seeds differ."""
        del views, plan
        if self.act_s:
            time.sleep(self.act_s)
        actions = seeded_noise(seed, self.horizon, self.info.action.dim).reshape(self.horizon, -1)
        if splice.prefix is not None and splice.weights is not None:
            actions = actions + splice.weights[:, None] * (splice.prefix - actions)
        return Acted(actions)

    def unnormalize(self, actions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the actions as they are."""
        return actions
