"""Stage 1 from its configuration to a checkpoint and a receipt."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError
from tokenizers import Tokenizer

from st4vla.contracts.errors import StorageError, UsageError
from st4vla.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from st4vla.training.grounding.accuracy import Found, accuracy, ask_for_boxes, draw_boxes
from st4vla.training.grounding.batches import GroundingSet
from st4vla.training.grounding.objective import GroundingObjective
from st4vla.training.grounding.samples import Task
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.loop.parameters import parameter_groups
from st4vla.training.loop.probes import Probe
from st4vla.training.loop.receipt import write_receipt
from st4vla.training.loop.trainer import LoopConfig, make_optimiser, train
from st4vla.training.loop.world import join_world
from st4vla.training.policy import St4vlaPolicy
from st4vla.training.trained_policy import whole_policy

#: Only the planner learns to say where things are.
FROZEN = ("layer_qformer", "action_model", "dino_encoder", "dino_pro")
PICTURE, CHECKPOINT = "boxes.png", "checkpoint"
PICTURED = 24


class SamplesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of samples, the folder of its pictures, and how often it is drawn relative to the others.

    Attributes:
        samples: The file.
        images: The folder.
        weight: How often.
        tasks: Take the samples of these tasks alone; none takes all.
    """

    samples: Path
    images: Path
    weight: float = 1.0
    tasks: tuple[Task, ...] = ()


class GroundingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `st4vla train grounding` reads.

    Attributes:
        checkpoint: Where to begin.
        data: The mixture.
        held_out: What accuracy is measured on, before and after.
        loop: How long and how fast.
        batch_size: Conversations in a step, over all processes; a multiple of their number.
        guidance: Weight of losses inside the planner, for one of random weights; see `guidance`. They need boxes of
            all things of a kind in a picture.
        length_window: Batches within which conversations are grouped by length, so that little is padding; 1 is none.
        rate: Peak learning rate of what `rates` does not name.
        rates: Path of a module to its peak learning rate.
        held_out_count: Boxes that are asked for.
        measure_every: Steps from one measurement of accuracy to the next; 0 measures before and after only.
    """

    checkpoint: Path
    data: tuple[SamplesConfig, ...]
    held_out: SamplesConfig
    loop: LoopConfig
    batch_size: int = 32
    guidance: float = 0.0
    length_window: int = 1
    rate: float = 1e-3
    rates: dict[str, float] = {}
    held_out_count: int = 200
    measure_every: int = 0


def open_samples(entry: SamplesConfig, tokenizer: Tokenizer) -> GroundingSet:
    """Return the samples of an entry.

    Raises:
        DatasetError: See `GroundingSet`.
    """
    return GroundingSet(entry.samples, entry.images, tokenizer, entry.tasks)


def train_grounding(
    config: GroundingConfig,
    run: Path,
    *,
    progress: Callable[[int, float], None] = lambda step, loss: None,
    asking: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Train stage 1, going on from the newest state in `run`, and measure accuracy before and after.

    `run` gets `checkpoint`, `metrics.jsonl`, `tensorboard`, the newest states, `boxes.png` and `receipt.json`. All
    processes of a launch call this; they share the steps, and the first one asks for boxes and writes.

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
    world = join_world()
    checkpoint = load_checkpoint(config.checkpoint)
    policy, tokenizer = checkpoint.policy, checkpoint.tokenizer
    sets = [open_samples(entry, tokenizer) for entry in config.data]
    held_out = open_samples(config.held_out, tokenizer)
    order = MixtureOrder([len(each) for each in sets], [entry.weight for entry in config.data], config.loop.seed)
    objective = GroundingObjective(
        policy,
        sets,
        order,
        batch_size=config.batch_size,
        guidance=config.guidance,
        length_window=config.length_window,
        processes=world.processes,
    )
    groups = parameter_groups(policy, rate=config.rate, rates=config.rates, frozen=FROZEN)

    def measure(measured: St4vlaPolicy) -> list[Found]:
        world.move(measured)
        measured.eval()
        return ask_for_boxes(
            measured, tokenizer, held_out, count=config.held_out_count, seed=config.loop.seed, progress=asking
        )

    probes = list[Probe]()
    if config.measure_every:
        if world.processes.count > 1:
            msg = "measuring along the way needs a single process; set measure_every to 0"
            raise UsageError(msg)
        probes.append(Probe(config.measure_every, lambda: {"held_out_boxes": accuracy(measure(policy))}))
    before = world.first_only(lambda: accuracy(measure(policy)))
    began = time.monotonic()
    steps = train(
        policy, make_optimiser(groups), objective, config.loop, run, world=world, probes=probes, progress=progress
    )
    seconds = time.monotonic() - began

    def finish() -> dict[str, Any]:
        trained = Checkpoint(checkpoint.manifest, whole_policy(config.checkpoint, run, policy, world), tokenizer)
        found = measure(trained.policy)
        try:
            draw_boxes(run / PICTURE, found[:PICTURED])
            save_checkpoint(run / CHECKPOINT, trained)
        except (OSError, SafetensorError) as error:
            msg = f"{run / CHECKPOINT} could not be written: {error}; free some disk and run the same command again"
            raise StorageError(msg) from error
        receipt = {
            "what": "stage 1, spatial grounding",
            "accuracy_at_iou_0.5": {
                "before": round(before, 4),
                "after": round(accuracy(found), 4),
                "boxes": len(found),
            },
            "steps_of_this_try": steps,
            "seconds_of_this_try": round(seconds, 1),
            "processes": world.processes.count,
            "samples": {str(entry.samples): len(each) for entry, each in zip(config.data, sets, strict=True)},
            "config": config,
        }
        write_receipt(run, receipt)
        return receipt

    return world.first_only(finish)
