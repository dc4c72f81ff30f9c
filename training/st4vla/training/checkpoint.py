"""Checkpoints: a folder with `checkpoint.json`, `model.safetensors` and `tokenizer.json`.

Weights keep the dtype in which they are stored. They are mapped from their file, not copied, so the file has to stay as
it is while the policy lives; saving over it is safe, since that makes a new file.
"""

from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from st4vla.contracts.errors import ManifestError, UsageError
from st4vla.contracts.files import (
    file_entry,
    read_manifest,
    replaced_file,
    verify_files,
    write_atomically,
    write_manifest,
)
from st4vla.contracts.manifests import CHECKPOINT_FORMAT, CHECKPOINT_MANIFEST, CheckpointManifest
from st4vla.training.empty_policy import TIED, assign, build_empty_policy, find_misfits
from st4vla.training.policy import St4vlaPolicy, build_policy
from st4vla.training.presets import get_preset
from st4vla.training.tokenizer import VOCABULARY, train_tokenizer

WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"


class Checkpoint(msgspec.Struct, frozen=True):
    """A policy in memory, with its tokenizer and what its manifest says."""

    manifest: CheckpointManifest
    policy: St4vlaPolicy
    tokenizer: Tokenizer


def init_checkpoint(preset_name: str, seed: int) -> Checkpoint:
    """Return an untrained policy of a preset.

    Raises:
        UsageError: An unknown preset, or one that begins from published weights.
    """
    preset = get_preset(preset_name)
    if preset.model.planner.vocabulary != VOCABULARY:
        raise UsageError(
            f"preset {preset_name!r} has Qwen's vocabulary and begins from published weights; "
            "only presets with the built-in tokenizer, such as 'tiny', can be initialised from a seed"
        )
    manifest = CheckpointManifest(
        format_version=CHECKPOINT_FORMAT,
        preset=preset_name,
        seed=seed,
        model=preset.model,
        sampler=preset.sampler,
        views=preset.views,
        action=preset.action,
        statistics=preset.statistics,
        prompt=preset.prompt,
        files={},
    )
    policy = build_policy(preset.model, preset.action.dim, preset.action.horizon, preset.sampler, seed)
    return Checkpoint(manifest, policy, train_tokenizer())


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> CheckpointManifest:
    """Write a checkpoint, its manifest last, and return the manifest with the digests of its files."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in checkpoint.policy.state_dict().items() if name != TIED}
    # Straight from the tensors: as bytes in memory they would double.
    with replaced_file(folder / WEIGHTS_FILE) as temporary:
        save_file(tensors, temporary)
    write_atomically(folder / TOKENIZER_FILE, checkpoint.tokenizer.to_str(pretty=True).encode())
    files = {name: file_entry(folder / name) for name in (WEIGHTS_FILE, TOKENIZER_FILE)}
    manifest = msgspec.structs.replace(checkpoint.manifest, files=files)
    write_manifest(folder / CHECKPOINT_MANIFEST, manifest)
    return manifest


def load_checkpoint(folder: Path, dtype: torch.dtype | None = None) -> Checkpoint:
    """Return a verified checkpoint, its policy in evaluation mode.

    Args:
        folder: Where it lies.
        dtype: What weights become, one by one; None leaves them as they are stored.

    Raises:
        ManifestError: No valid manifest, or weights that do not fit its sizes.
        FileMissingError: A file is not there.
        FileAlteredError: A file's bytes are not those of the manifest.
    """
    manifest = read_manifest(folder / CHECKPOINT_MANIFEST, CheckpointManifest, CHECKPOINT_FORMAT)
    absent = [name for name in (WEIGHTS_FILE, TOKENIZER_FILE) if name not in manifest.files]
    if absent:
        raise ManifestError(f"{folder / CHECKPOINT_MANIFEST} does not list {', '.join(absent)}; save it again")
    verify_files(folder, manifest.files)
    path = folder / WEIGHTS_FILE
    policy = build_empty_policy(manifest.model, manifest.action.dim, manifest.action.horizon, manifest.sampler)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ManifestError(f"{path} is not a safetensors file: {error}; save the checkpoint again") from error
    misfits = find_misfits(policy, tensors)
    if misfits:
        raise ManifestError(f"{path} does not fit the sizes in the manifest: {misfits}")

    def read(name: str) -> Tensor:
        tensor = tensors.pop(name)
        if dtype is None or tensor.dtype == dtype:
            return tensor
        # Through a mapping of its own, so that what was read of the file is not kept beside what became of it.
        with safe_open(path, framework="pt") as stream:
            return stream.get_tensor(name).to(dtype)

    assign(policy, read)
    return Checkpoint(manifest, policy, Tokenizer.from_file(str(folder / TOKENIZER_FILE)))
