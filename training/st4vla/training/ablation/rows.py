"""The four rows, each a change to one configuration of stage 2."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import msgspec

from st4vla.contracts.errors import UsageError
from st4vla.training.actions.config import ActionsConfig

#: The prompt of rows without spatial guidance: the instruction alone.
PLAIN_PROMPT = "none"


class Row(str, enum.Enum):
    """A row of the paper's table, from the least to the most."""

    VANILLA_VLA = "vanilla_vla"
    VANILLA_CO_TRAINING = "vanilla_co_training"
    SPATIALLY_GUIDED = "spatially_guided"
    SPATIALLY_PRETRAINED = "spatially_pretrained"


TITLES = {
    Row.VANILLA_VLA: "vanilla VLA",
    Row.VANILLA_CO_TRAINING: "vanilla co-training",
    Row.SPATIALLY_GUIDED: "+ spatially guided",
    Row.SPATIALLY_PRETRAINED: "+ spatially pre-trained",
}


class AblationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `st4vla train ablation` reads.

    Attributes:
        actions: The row with spatial guidance: its `checkpoint` is where the first three rows begin, its `prompt` the
            spatial one, its `co_training` the grounding data of all rows but the first.
        pretrained: Where the last row begins: the checkpoint of stage 1.
        seeds: Each row is trained once for each.
        workers: Runs at a time, each with its share of the cores.
    """

    actions: ActionsConfig
    pretrained: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    workers: int = 1

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to compare."""
        if self.actions.co_training is None or self.actions.prompt in {None, PLAIN_PROMPT}:
            msg = "the rows differ in actions.co_training and in a spatial actions.prompt; set both"
            raise ValueError(msg)
        if self.actions.measuring.samples is None:
            msg = "grounding is what the rows are compared by; name held-out boxes in actions.measuring.samples"
            raise ValueError(msg)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0 or self.workers < 1:
            msg = f"seeds {list(self.seeds)} must be different and at least 0, workers {self.workers} at least 1"
            raise ValueError(msg)


def row_config(config: AblationConfig, row: Row, seed: int) -> ActionsConfig:
    """Return the run of a row: the same steps, batches and rates in each."""
    base = config.actions
    together = base.co_training
    if together is None:  # `AblationConfig` has refused it
        msg = "the rows differ in actions.co_training; set it"
        raise UsageError(msg)
    # All rows are asked about the same grounding gradients, also the one that does not learn from them.
    measuring = base.measuring
    if measuring.similarity_samples is None:
        measuring = msgspec.structs.replace(measuring, similarity_samples=together.data[0])
    changes: dict[Row, dict[str, Any]] = {
        Row.VANILLA_VLA: {"prompt": PLAIN_PROMPT, "co_training": None},
        Row.VANILLA_CO_TRAINING: {"prompt": PLAIN_PROMPT},
        Row.SPATIALLY_GUIDED: {},
        Row.SPATIALLY_PRETRAINED: {"checkpoint": config.pretrained},
    }
    loop = msgspec.structs.replace(base.loop, seed=seed)
    return msgspec.structs.replace(base, loop=loop, measuring=measuring, **changes[row])
