"""States of a run on disk, from which a killed run goes on as if nothing had happened.

A state is a folder ``step_00001000`` that holds the weights, the optimiser, and a manifest with a digest of both. It
gets its name when it is whole, so a kill at any instant leaves whole ones only. Random numbers need no state: each step
draws from a seed of its own (see `trainer`).
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from st4vla.contracts.errors import FileAlteredError, FileMissingError, ManifestError, StorageError
from st4vla.contracts.files import FileEntry, file_entry, read_manifest, verify_files, write_manifest
from st4vla.contracts.folders import replaced_folder

LOG = logging.getLogger(__name__)
STATE_FORMAT = 1
MANIFEST, WEIGHTS, OPTIMISER = "state.json", "model.safetensors", "optimiser.pt"


class StateManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies in `state.json`: how many steps are done, and the digests of the other files."""

    format_version: int
    steps_done: int
    files: dict[str, FileEntry]


def save_state(run: Path, steps_done: int, model: nn.Module, optimiser: torch.optim.Optimizer, keep: int) -> Path:
    """Write a state, then delete all but the newest `keep`.

    Raises:
        StorageError: It could not be written, for example because the disk is full; older states are as they were.
    """
    target = run / f"step_{steps_done:08d}"
    try:
        with replaced_folder(target, MANIFEST, "a state") as work:
            save_file({name: value.contiguous() for name, value in _weights(model).items()}, work / WEIGHTS)
            torch.save(optimiser.state_dict(), work / OPTIMISER)
            files = {name: file_entry(work / name) for name in (WEIGHTS, OPTIMISER)}
            write_manifest(work / MANIFEST, StateManifest(STATE_FORMAT, steps_done, files))
    except (OSError, RuntimeError) as error:
        # PyTorch says "file write failed" of a full disk, in a RuntimeError.
        msg = f"{target} could not be written: {error}; free some disk and run the same command again to go on"
        raise StorageError(msg) from error
    for old in _states(run)[:-keep]:
        shutil.rmtree(old)
    return target


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
        if optimiser is not None:
            optimiser.load_state_dict(torch.load(path / OPTIMISER, weights_only=True))
    except (RuntimeError, ValueError) as error:
        msg = f"{path} does not fit this run's model: {error}; name another folder for another run"
        raise ManifestError(msg) from error
    missing = [name for name in keys.missing_keys if name in _weights(model)]
    if missing or keys.unexpected_keys:
        msg = f"{path} does not fit this run's model; missing: {missing[:4]}, unknown: {keys.unexpected_keys[:4]}"
        raise ManifestError(msg)
    return manifest.steps_done


def _states(run: Path) -> list[Path]:
    return sorted(run.glob("step_" + "[0-9]" * 8))


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state dict without the second name of a tensor that has two (a tied embedding)."""
    seen: set[int] = set()
    weights = {}
    for name, value in model.state_dict().items():
        if value.numel() and value.data_ptr() in seen:
            continue
        seen.add(value.data_ptr())
        weights[name] = value
    return weights
