"""Actions between a robot's units and the policy's [-1, 1].

One mode per dimension, and the gripper is named by its index: the reference un-normalises every robot with its 1st and
99th percentiles and takes dimension 6 for the gripper, whatever the robot and its training were.
"""

from __future__ import annotations

import enum

import msgspec
import numpy as np
import numpy.typing as npt

from st4vla.contracts.messages import ActionRepresentation


class NormalizationMode(str, enum.Enum):
    """How one dimension is scaled.

    QUANTILE: q01 and q99 to -1 and 1, clipped. MIN_MAX: min and max likewise. MEAN_STD: zero mean, unit deviation, not
    clipped. BINARY: 0 or 1, decided at one half. IDENTITY: left alone.
    """

    QUANTILE = "quantile"
    MIN_MAX = "min_max"
    MEAN_STD = "mean_std"
    BINARY = "binary"
    IDENTITY = "identity"


class ActionStatistics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Statistics of a data set's actions, each of length A, in the robot's units."""

    q01: tuple[float, ...]
    q99: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class ActionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a policy's actions are.

    Attributes:
        names: One name per dimension, for example ``dx_m``.
        modes: One mode per dimension.
        gripper_index: Which dimension is the gripper, or None.
        representation: What the numbers mean to the robot.
        horizon: T, actions in a chunk.
        period_ns: Time between two actions.
    """

    names: tuple[str, ...]
    modes: tuple[NormalizationMode, ...]
    gripper_index: int | None
    representation: ActionRepresentation
    horizon: int
    period_ns: int

    def __post_init__(self) -> None:
        """Refuse specs that contradict themselves."""
        if len(self.names) != len(self.modes) or not self.names:
            msg = f"an action needs one mode per dimension; got {len(self.names)} names and {len(self.modes)} modes"
            raise ValueError(msg)
        if self.gripper_index is not None and not 0 <= self.gripper_index < len(self.names):
            msg = f"gripper_index {self.gripper_index} is not one of the {len(self.names)} dimensions"
            raise ValueError(msg)
        if self.horizon < 1 or self.period_ns < 1:
            msg = f"horizon {self.horizon} and period_ns {self.period_ns} must be positive"
            raise ValueError(msg)

    @property
    def dim(self) -> int:
        """A, numbers in an action."""
        return len(self.names)


class ActionNormalizer:
    """Scale actions [..., A] to what the policy learns, and back.

    Args:
        spec: Modes per dimension.
        statistics: Ranges per dimension.

    Raises:
        ValueError: Statistics of another length than the spec's.
    """

    def __init__(self, spec: ActionSpec, statistics: ActionStatistics) -> None:
        for name in statistics.__struct_fields__:
            length = len(getattr(statistics, name))
            if length != spec.dim:
                msg = f"statistics {name!r} has {length} entries; the action has {spec.dim} dimensions"
                raise ValueError(msg)
        modes = np.array([mode.value for mode in spec.modes])
        self._dim = spec.dim
        self._binary = modes == NormalizationMode.BINARY.value
        self._clipped = np.isin(modes, (NormalizationMode.QUANTILE.value, NormalizationMode.MIN_MAX.value))
        quantile, mean_std = modes == NormalizationMode.QUANTILE.value, modes == NormalizationMode.MEAN_STD.value
        low = np.where(quantile, statistics.q01, statistics.min)
        high = np.where(quantile, statistics.q99, statistics.max)
        # raw = offset + scale * normalised, in each scaled mode.
        scale = np.where(self._clipped, 0.5 * (high - low), np.where(mean_std, statistics.std, 1.0))
        self._offset = np.where(self._clipped, 0.5 * (high + low), np.where(mean_std, statistics.mean, 0.0))
        self._scale = scale
        self._constant = (self._clipped | mean_std) & (scale == 0)

    def normalize(self, actions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return actions [..., A] in the policy's units; a dimension that never varied becomes 0."""
        raw = self._checked(actions)
        scaled = np.where(self._constant, 0.0, (raw - self._offset) / np.where(self._constant, 1.0, self._scale))
        scaled = np.where(self._clipped, np.clip(scaled, -1.0, 1.0), scaled)
        return np.where(self._binary, (raw > 0.5).astype(np.float64), scaled)

    def unnormalize(self, actions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return policy outputs [..., A] in the robot's units; ranges are never left."""
        normalized = self._checked(actions)
        bounded = np.where(self._clipped, np.clip(normalized, -1.0, 1.0), normalized)
        raw = self._offset + self._scale * bounded
        return np.where(self._binary, (normalized >= 0.5).astype(np.float64), raw)

    def _checked(self, actions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        array = np.asarray(actions, np.float64)
        if array.ndim == 0 or array.shape[-1] != self._dim:
            msg = f"actions must be [..., {self._dim}]; got {list(array.shape)}"
            raise ValueError(msg)
        return array
