"""Stage 2 from its configuration to a checkpoint and a receipt."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError

from st4vla.contracts.action import ActionStatistics
from st4vla.contracts.errors import StorageError, UsageError
from st4vla.contracts.manifests import CheckpointManifest
from st4vla.training.actions.config import ActionsConfig, DemonstrationsConfig
from st4vla.training.actions.demonstrations import Demonstrations
from st4vla.training.actions.error import mean_chunk
from st4vla.training.actions.measuring import GradientAgreement, HeldOut
from st4vla.training.actions.objective import ActionObjective, JointObjective
from st4vla.training.actions.statistics import compute_statistics, widened
from st4vla.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from st4vla.training.grounding.accuracy import draw_boxes
from st4vla.training.grounding.batches import GroundingSet
from st4vla.training.grounding.objective import GroundingObjective
from st4vla.training.grounding.stage import CHECKPOINT, PICTURE, PICTURED, SamplesConfig, open_samples
from st4vla.training.loop.order import MixtureOrder
from st4vla.training.loop.parameters import parameter_groups
from st4vla.training.loop.probes import Probe
from st4vla.training.loop.receipt import write_receipt
from st4vla.training.loop.trainer import Objective, make_optimiser, train
from st4vla.training.loop.world import World, join_world
from st4vla.training.trained_policy import whole_policy

#: Tell the order of demonstrations, of grounding samples and of what is only measured apart.
_GROUNDING, _PROBES = 1, 2


@dataclass(frozen=True)
class _Run:
    """A checkpoint and the data that it is trained on."""

    config: ActionsConfig
    manifest: CheckpointManifest
    checkpoint: Checkpoint
    demonstrations: tuple[Demonstrations, ...]
    world: World

    def actions(self, *, probe: bool = False) -> ActionObjective:
        """Return the action objective; a probe's draws are its own."""
        config, loop = self.config, self.config.loop
        seed = loop.seed + (_PROBES if probe else 0)
        weights = [entry.weight for entry in config.data]
        return ActionObjective(
            self.checkpoint.policy,
            self.checkpoint.tokenizer,
            self.manifest.prompt,
            self.demonstrations,
            MixtureOrder([len(each) for each in self.demonstrations], weights, seed),
            batch_size=config.measuring.similarity_batch if probe else config.batch_size,
            seed=seed,
            noise_draws=config.noise_draws,
            max_delay=config.max_delay,
            weight=config.weight,
            min_snr=config.min_snr,
            processes=self.world.processes,
        )

    def grounding(
        self, data: tuple[SamplesConfig, ...], batch_size: int, weight: float, *, probe: bool = False
    ) -> GroundingObjective:
        """Return the grounding objective on a mixture."""
        sets = [self.samples(entry) for entry in data]
        seed = self.config.loop.seed + (_PROBES if probe else _GROUNDING)
        order = MixtureOrder([len(each) for each in sets], [entry.weight for entry in data], seed)
        return GroundingObjective(
            self.checkpoint.policy,
            sets,
            order,
            batch_size=batch_size,
            weight=weight,
            processes=self.world.processes,
        )

    def samples(self, entry: SamplesConfig) -> GroundingSet:
        """Return the samples of an entry."""
        return open_samples(entry, self.checkpoint.tokenizer)


def train_actions(
    config: ActionsConfig,
    run: Path,
    *,
    progress: Callable[[int, float], None] = lambda step, loss: None,
    measuring: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[str, Any]:
    """Train stage 2, going on from the newest state in `run`, and measure before, while and after.

    `run` gets `checkpoint`, `metrics.jsonl`, the newest states, `receipt.json`, and `boxes.png` where boxes are
    measured. The checkpoint holds the statistics of every embodiment that it learnt from, and the prompt.

    Args:
        config: What to do.
        run: Folder of the run.
        progress: Called after each step with the loss.
        measuring: Called with what is measured, how many are done, and of how many.

    Returns:
        What the receipt holds.

    Raises:
        St4vlaError: See `load_checkpoint`, `Demonstrations`, `GroundingSet`, `train`.
    """
    setup = _set_up(config, join_world())
    world, policy = setup.world, setup.checkpoint.policy
    held_out = _held_out(setup, measuring)
    objectives: list[Objective] = [setup.actions()]
    if config.co_training is not None:
        together = config.co_training
        objectives.append(setup.grounding(together.data, together.batch_size, together.weight))
    groups = parameter_groups(policy, rate=config.rate, rates=config.rates, frozen=config.frozen)
    probes = _probes(setup, held_out)
    world.move(policy)
    before = world.first_only(lambda: held_out.measure(policy))
    began = time.monotonic()
    steps = train(
        policy,
        make_optimiser(groups),
        JointObjective(objectives),
        config.loop,
        run,
        world=world,
        probes=probes,
        progress=progress,
    )
    seconds = time.monotonic() - began

    def finish() -> dict[str, Any]:
        whole = whole_policy(config.checkpoint, run, policy, world)
        world.move(whole)
        trained = Checkpoint(setup.manifest, whole, setup.checkpoint.tokenizer)
        after = held_out.measure(trained.policy)
        try:
            if held_out.found:
                draw_boxes(run / PICTURE, held_out.found[:PICTURED])
            save_checkpoint(run / CHECKPOINT, trained)
        except (OSError, SafetensorError) as error:
            msg = f"{run / CHECKPOINT} could not be written: {error}; free some disk and run the same command again"
            raise StorageError(msg) from error
        moments = zip(config.data, setup.demonstrations, strict=True)
        receipt = {
            "what": "stage 2, actions",
            "before": _rounded(before),
            "after": _rounded(after),
            "steps_of_this_try": steps,
            "seconds_of_this_try": round(seconds, 1),
            "processes": world.processes.count,
            "moments": {str(entry.folder): len(each) for entry, each in moments},
            "config": config,
        }
        write_receipt(run, receipt)
        return receipt

    return world.first_only(finish)


def _set_up(config: ActionsConfig, world: World) -> _Run:
    if not config.data:
        msg = "there are no demonstrations; name at least one [[data]] with a folder and an embodiment"
        raise UsageError(msg)
    checkpoint = load_checkpoint(config.checkpoint)
    known = checkpoint.manifest
    demonstrations = _open_all(config, known)
    prompt, sampler = known.prompt, known.sampler
    if config.prompt is not None:
        prompt = msgspec.structs.replace(prompt, template=config.prompt)
    if config.max_delay:
        sampler = msgspec.structs.replace(sampler, clean_prefix=True)
    statistics = {entry.embodiment: each.statistics for entry, each in zip(config.data, demonstrations, strict=True)}
    manifest = msgspec.structs.replace(known, prompt=prompt, sampler=sampler, statistics=statistics)
    checkpoint.policy.sampler = sampler
    if config.fresh_head:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.loop.seed)
            checkpoint.policy.action_model.net.begin_as_identity()
    return _Run(config, manifest, checkpoint, demonstrations, world)


def _open_all(config: ActionsConfig, manifest: CheckpointManifest) -> tuple[Demonstrations, ...]:
    """Return the training episodes; data sets of one embodiment are normalised alike, for a robot has one range."""
    alone = [_open(entry, entry.split, manifest) for entry in config.data]
    of_robot: dict[str, list[Demonstrations]] = {}
    for entry, each in zip(config.data, alone, strict=True):
        of_robot.setdefault(entry.embodiment, []).append(each)
    statistics = {name: _statistics(sets, config.min_range) for name, sets in of_robot.items()}
    return tuple(
        each
        if each.statistics == statistics[entry.embodiment]
        else _open(entry, entry.split, manifest, statistics[entry.embodiment])
        for entry, each in zip(config.data, alone, strict=True)
    )


def _statistics(sets: Sequence[Demonstrations], min_range: float) -> ActionStatistics:
    found = sets[0].statistics
    if len(sets) > 1:
        found = compute_statistics(np.concatenate([each.training_actions() for each in sets]))
    return widened(found, min_range) if min_range else found


def _open(
    entry: DemonstrationsConfig, split: str, manifest: CheckpointManifest, statistics: ActionStatistics | None = None
) -> Demonstrations:
    return Demonstrations(
        entry.folder,
        split,
        manifest.action,
        manifest.views,
        parts=entry.parts,
        cameras=entry.cameras,
        any_rate=entry.any_rate,
        drop_pauses=entry.drop_pauses and split == entry.split,
        statistics=statistics,
    )


def _held_out(setup: _Run, progress: Callable[[str, int, int], None]) -> HeldOut:
    config = setup.config
    moments = [
        (_open(entry, entry.held_out, setup.manifest, learnt.statistics), mean_chunk(learnt))
        for entry, learnt in zip(config.data, setup.demonstrations, strict=True)
        if entry.held_out is not None
    ]
    return HeldOut(
        setup.checkpoint.tokenizer,
        setup.manifest.prompt,
        config.measuring,
        demonstrations=moments,
        samples=None if config.measuring.samples is None else setup.samples(config.measuring.samples),
        # The same moments and boxes whatever the run's own seed, so that runs can be compared.
        seed=0,
        progress=progress,
    )


def _probes(setup: _Run, held_out: HeldOut) -> list[Probe]:
    measuring, together = setup.config.measuring, setup.config.co_training
    policy, probes = setup.checkpoint.policy, list[Probe]()
    if setup.world.processes.count > 1 and (measuring.every or measuring.similarity_every):
        msg = "measuring along the way needs a single process; set measuring.every and measuring.similarity_every to 0"
        raise UsageError(msg)
    if measuring.every:
        probes.append(Probe(measuring.every, lambda: held_out.measure(policy)))
    if measuring.similarity_every:
        data = () if together is None else together.data
        data = data if measuring.similarity_samples is None else (measuring.similarity_samples,)
        if not data:
            msg = "similarity_every is set, but there are no grounding samples; name some in similarity_samples"
            raise UsageError(msg)
        agreement = GradientAgreement(
            policy,
            setup.actions(probe=True),
            setup.grounding(data, measuring.similarity_batch, 1.0, probe=True),
            rank=measuring.similarity_rank,
            weights=measuring.similarity_weights,
        )
        probes.append(Probe(measuring.similarity_every, agreement.measure))
    return probes


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}
