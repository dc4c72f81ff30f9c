"""States of a run on disk, from which a killed run goes on as if nothing had happened.

A state is a folder ``step_00001000`` that holds the weights, the optimiser, and a manifest with a digest of both. It
gets its name when it is whole, so a kill at any instant leaves whole ones only. Random numbers need no state: each step
draws from a seed of its own (see `trainer`).

Sharded weights and moments are gathered, and the first process writes them: a state says nothing of how many processes
there were, and any number goes on from it. DeepSpeed's optimiser alone stays in parts, and goes on with as many
processes as wrote it. All processes must call `save_state` and `load_optimiser`, and see the same disk.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from st4vla.contracts.errors import FileAlteredError, FileMissingError, ManifestError, StorageError, TrainingError
from st4vla.contracts.files import FileEntry, file_entry, read_manifest, verify_files, write_manifest
from st4vla.contracts.folders import replaced_folder
from st4vla.training.loop.world import World

LOG = logging.getLogger(__name__)
STATE_FORMAT = 1
MANIFEST, WEIGHTS, OPTIMISER, PARTS = "state.json", "model.safetensors", "optimiser.pt", "parts"
AVERAGES = "average.safetensors"
#: What activation checkpointing puts into the names of parameters, though not into those of a state dict.
WRAPPER = "_checkpoint_wrapped_module."
ALONE = World()


class StateManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies in `state.json`: how many steps are done, and the digests of the other files."""

    format_version: int
    steps_done: int
    files: dict[str, FileEntry]


def save_state(
    run: Path,
    steps_done: int,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    averages: Mapping[str, torch.Tensor] | None = None,
    *,
    keep: int,
    world: World = ALONE,
) -> Path:
    """Write a state, with averages of the weights if there are any, then delete all but the newest `keep`.

    Raises:
        StorageError: It could not be written, for example because the disk is full; older states are as they were.
    """
    target = run / f"step_{steps_done:08d}"
    parts = run / f".{target.name}.{PARTS}"
    weights = world.whole(_weights(model))
    averages = None if averages is None else world.whole(averages)
    in_parts = world.save_parts(parts)
    moments = None if in_parts else world.whole(optimiser.state_dict())

    def write() -> Path:
        try:
            with replaced_folder(target, MANIFEST, "a state") as work:
                save_file({name: value.contiguous() for name, value in weights.items()}, work / WEIGHTS)
                if averages is not None:
                    save_file({name: value.contiguous() for name, value in averages.items()}, work / AVERAGES)
                if in_parts:
                    parts.rename(work / PARTS)
                else:
                    torch.save(moments, work / OPTIMISER)
                files = {path.relative_to(work).as_posix(): file_entry(path) for path in _files(work)}
                write_manifest(work / MANIFEST, StateManifest(STATE_FORMAT, steps_done, files))
        except (OSError, RuntimeError, SafetensorError) as error:
            # Of a full disk, safetensors and PyTorch speak in errors of their own.
            msg = f"{target} could not be written: {error}; free some disk and run the same command again to go on"
            raise StorageError(msg) from error
        for old in _states(run)[:-keep]:
            shutil.rmtree(old)
        return target

    return world.first_only(write)


def newest_state(run: Path) -> Path | None:
    """Return the newest whole state of a run, or None; one that is not whole is named in a warning and passed over."""
    for path in reversed(_states(run)):
        try:
            verify_files(path, read_manifest(path / MANIFEST, StateManifest, STATE_FORMAT).files)
        except (ManifestError, FileMissingError, FileAlteredError) as error:
            LOG.warning("passing over a state that is not whole: %s", error)
            continue
        return path
    return None


def load_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer | None) -> int:
    """Load a state into a model, and into an optimiser if there is one; return how many steps are done.

    Raises:
        ManifestError: It is of another model or optimiser.
    """
    manifest = read_manifest(path / MANIFEST, StateManifest, STATE_FORMAT)
    weights = load_file(path / WEIGHTS)
    try:
        keys = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise _misfit(path, error) from error
    missing = [name for name in keys.missing_keys if name in _weights(model)]
    if missing or keys.unexpected_keys:
        msg = f"{path} does not fit this run's model; missing: {missing[:4]}, unknown: {keys.unexpected_keys[:4]}"
        raise ManifestError(msg)
    if optimiser is not None:
        load_optimiser(path, optimiser)
    return manifest.steps_done


def load_averages(path: Path) -> dict[str, torch.Tensor]:
    """Return the averages of the weights that lie in a state.

    Raises:
        ManifestError: There are none.
    """
    if AVERAGES not in read_manifest(path / MANIFEST, StateManifest, STATE_FORMAT).files:
        msg = f"{path} holds no averages of weights; go on with average_decay = 0, or name another folder"
        raise ManifestError(msg)
    averages: dict[str, torch.Tensor] = load_file(path / AVERAGES)
    return averages


def load_trained(run: Path, model: nn.Module) -> None:
    """Load what a finished run has learnt into a model: the averages of its weights where it keeps them.

    Raises:
        TrainingError: The run has no state.
        ManifestError: It is of another model.
    """
    state = newest_state(run)
    if state is None:
        msg = f"{run} holds no state after the training; run the same command again"
        raise TrainingError(msg)
    load_state(state, model, None)
    if (state / AVERAGES).is_file():
        model.load_state_dict(load_averages(state), strict=False)


def load_optimiser(path: Path, optimiser: torch.optim.Optimizer, world: World = ALONE) -> None:
    """Load a state into an optimiser, sharded if its parameters are.

    Raises:
        ManifestError: It is of another optimiser, or in parts where this run has none, or the other way round.
    """
    files = read_manifest(path / MANIFEST, StateManifest, STATE_FORMAT).files
    if world.load_parts(path / PARTS):
        return
    if OPTIMISER not in files:
        msg = f"{path} was written by DeepSpeed; go on with the launch configuration that began the run"
        raise ManifestError(msg)
    try:
        moments = torch.load(path / OPTIMISER, map_location="cpu", weights_only=True)
        optimiser.load_state_dict(world.part(moments, optimiser))
    except (RuntimeError, ValueError, IndexError) as error:
        raise _misfit(path, error) from error


def _misfit(path: Path, error: Exception) -> ManifestError:
    return ManifestError(f"{path} does not fit this run's model: {error}; name another folder for another run")


def _states(run: Path) -> list[Path]:
    return sorted(run.glob("step_" + "[0-9]" * 8))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state dict without the second name of a tensor that has two (a tied embedding)."""
    every, once = (
        {name.replace(WRAPPER, "") for name, _ in model.named_parameters(remove_duplicate=duplicates)}
        for duplicates in (False, True)
    )
    return {name: value for name, value in model.state_dict().items() if name not in every - once}
