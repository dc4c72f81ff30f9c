"""Read the action statistics of a published run, and what they say of its actions.

Published policies scale a dimension by its 1st and 99th percentiles where its mask is true and leave it alone where it
is false, which is the gripper, the last one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from st4vla.contracts.action import ActionSpec, ActionStatistics, NormalizationMode
from st4vla.contracts.errors import FileMissingError, ManifestError, UsageError
from st4vla.contracts.messages import ActionRepresentation
from st4vla.training.presets import get_preset

STATISTICS_FILE = "dataset_statistics.json"
NANOSECONDS = 1_000_000_000
_FIELDS = ("q01", "q99", "min", "max", "mean", "std")


class Embodiment(NamedTuple):
    """Statistics of one robot's actions, and one mode for each dimension."""

    statistics: ActionStatistics
    modes: tuple[NormalizationMode, ...]


class _Action(msgspec.Struct, frozen=True):
    q01: tuple[float, ...]
    q99: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mask: tuple[bool, ...] | None = None


class _Entry(msgspec.Struct, frozen=True):
    action: _Action


def read_statistics(folder: Path, action_dim: int) -> dict[str, Embodiment]:
    """Return every embodiment of a run's folder.

    Args:
        folder: Where `dataset_statistics.json` lies.
        action_dim: A, by the weights.

    Raises:
        FileMissingError: No such file.
        ManifestError: Not JSON, a field is missing, no embodiment, or another number of dimensions.
    """
    path = folder / STATISTICS_FILE
    if not path.is_file():
        raise FileMissingError(f"{path} is not there; without it no action can be turned into a robot's units")
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=dict[str, _Entry])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} does not hold action statistics by embodiment: {error}") from error
    if not entries:
        raise ManifestError(f"{path} names no embodiment; it must have at least one")
    return {name: _embodiment(path, name, entry.action, action_dim) for name, entry in entries.items()}


def choose(embodiments: Mapping[str, Embodiment], chosen: str | None) -> dict[str, Embodiment]:
    """Return the chosen embodiment, or all of them where their modes agree.

    Raises:
        UsageError: An unknown name, or modes that differ and none is chosen.
    """
    if chosen is not None:
        if chosen not in embodiments:
            raise UsageError(f"no embodiment {chosen!r} in the statistics; known are {', '.join(sorted(embodiments))}")
        return {chosen: embodiments[chosen]}
    if len({embodiment.modes for embodiment in embodiments.values()}) > 1:
        masks = "; ".join(
            f"{name}: {', '.join(mode.value for mode in embodiment.modes)}" for name, embodiment in embodiments.items()
        )
        raise UsageError(
            f"embodiments with different masks do not fit into one checkpoint; pick one with --embodiment: {masks}"
        )
    return dict(embodiments)


def action_spec(modes: tuple[NormalizationMode, ...], horizon: int, action_hz: float) -> ActionSpec:
    """Return what a policy's actions are: the published end-effector deltas for seven dimensions, else joint deltas.

    Args:
        modes: One for each dimension; the last one is the gripper.
        horizon: T.
        action_hz: Actions per second, which no published file tells.
    """
    published = get_preset("base").action
    named = len(modes) == published.dim
    return ActionSpec(
        names=published.names if named else tuple(f"action_{index}" for index in range(len(modes))),
        modes=modes,
        gripper_index=len(modes) - 1,
        representation=ActionRepresentation.EE_DELTA if named else ActionRepresentation.JOINT_DELTA,
        horizon=horizon,
        period_ns=round(NANOSECONDS / action_hz),
    )


def _embodiment(path: Path, name: str, action: _Action, action_dim: int) -> Embodiment:
    # The reference takes a missing mask for one that is true throughout.
    mask = (True,) * action_dim if action.mask is None else action.mask
    lengths = {field: len(getattr(action, field)) for field in _FIELDS} | {"mask": len(mask)}
    wrong = ", ".join(f"{field} {length}" for field, length in lengths.items() if length != action_dim)
    if wrong:
        raise ManifestError(
            f"{path}: the actions of {name!r} need {action_dim} numbers each; these have others: {wrong}"
        )
    statistics = ActionStatistics(**{field: getattr(action, field) for field in _FIELDS})
    last = action_dim - 1
    unscaled = [
        NormalizationMode.BINARY if index == last else NormalizationMode.IDENTITY for index in range(action_dim)
    ]
    return Embodiment(
        statistics,
        tuple(NormalizationMode.QUANTILE if scaled else unscaled[index] for index, scaled in enumerate(mask)),
    )
