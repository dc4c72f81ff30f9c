"""Stage 1 from its configuration to a checkpoint and a receipt."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from st4vla.contracts.files import write_atomically
from st4vla.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from st4vla.training.grounding.accuracy import accuracy, ask_for_boxes, draw_boxes
from st4vla.training.grounding.batches import GroundingSet
from st4vla.training.grounding.objective import GroundingObjective
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.loop.parameters import parameter_groups
from st4vla.training.loop.trainer import LoopConfig, make_optimiser, train

#: Only the planner learns to say where things are.
FROZEN = ("layer_qformer", "action_model", "dino_encoder", "dino_pro")
RECEIPT, PICTURE, CHECKPOINT = "receipt.json", "boxes.png", "checkpoint"
PICTURED = 24


class SamplesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of samples, the folder of its pictures, and how often it is drawn relative to the others."""

    samples: Path
    images: Path
    weight: float = 1.0


class GroundingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `st4vla train grounding` reads.

    Attributes:
        checkpoint: Where to begin.
        data: The mixture.
        held_out: What accuracy is measured on, before and after.
        loop: How long and how fast.
        batch_size: Conversations in a step.
        rate: Peak learning rate of what `rates` does not name.
        rates: Path of a module to its peak learning rate.
        held_out_count: Boxes that are asked for.
    """

    checkpoint: Path
    data: tuple[SamplesConfig, ...]
    held_out: SamplesConfig
    loop: LoopConfig
    batch_size: int = 32
    rate: float = 1e-3
    rates: dict[str, float] = {}
    held_out_count: int = 200


def train_grounding(
    config: GroundingConfig,
    run: Path,
    *,
    progress: Callable[[int, float], None] = lambda step, loss: None,
    asking: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Train stage 1, going on from the newest state in `run`, and measure accuracy before and after.

    `run` gets `checkpoint`, `metrics.jsonl`, the newest states, `boxes.png` and `receipt.json`.

    Args:
        config: What to do.
        run: Folder of the run.
        progress: Called after each step with the loss.
        asking: Called with how many boxes were asked for, and of how many.

    Returns:
        What the receipt holds.

    Raises:
        St4vlaError: See `load_checkpoint`, `GroundingSet`, `train`.
    """
    checkpoint = load_checkpoint(config.checkpoint)
    policy, tokenizer = checkpoint.policy, checkpoint.tokenizer
    sets = [GroundingSet(entry.samples, entry.images, tokenizer) for entry in config.data]
    held_out = GroundingSet(config.held_out.samples, config.held_out.images, tokenizer)
    order = MixtureOrder([len(each) for each in sets], [entry.weight for entry in config.data], config.loop.seed)
    objective = GroundingObjective(policy, sets, order, batch_size=config.batch_size)
    groups = parameter_groups(policy, rate=config.rate, rates=config.rates, frozen=FROZEN)

    def measure() -> tuple[float, list[Any]]:
        policy.eval()
        found = ask_for_boxes(
            policy, tokenizer, held_out, count=config.held_out_count, seed=config.loop.seed, progress=asking
        )
        return accuracy(found), found

    before, _ = measure()
    began = time.monotonic()
    steps = train(policy, make_optimiser(groups), objective, config.loop, run, progress=progress)
    seconds = time.monotonic() - began
    after, found = measure()
    draw_boxes(run / PICTURE, found[:PICTURED])
    save_checkpoint(run / CHECKPOINT, Checkpoint(checkpoint.manifest, policy, tokenizer))
    receipt = {
        "what": "stage 1, spatial grounding",
        "accuracy_at_iou_0.5": {"before": round(before, 4), "after": round(after, 4), "boxes": len(found)},
        "steps_of_this_try": steps,
        "seconds_of_this_try": round(seconds, 1),
        "samples": {str(entry.samples): len(each) for entry, each in zip(config.data, sets, strict=True)},
        "config": config,
    }
    encoded = msgspec.json.format(msgspec.json.encode(receipt, enc_hook=str), indent=2)
    write_atomically(run / RECEIPT, encoded + b"\n")
    return receipt
