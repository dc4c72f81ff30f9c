"""Checkpoints and planners of random weights, of any size: written without memory for more than one tensor."""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

import msgspec
import torch

from st4vla.contracts.files import file_entry, write_atomically, write_manifest
from st4vla.contracts.manifests import CHECKPOINT_FORMAT, CHECKPOINT_MANIFEST, CheckpointManifest
from st4vla.contracts.tensor_spec import GraphTensors
from st4vla.export.bundle import graph_spec
from st4vla.export.onnx_export import graph_models, save_graph
from st4vla.export.quantization.blocks import block_names
from st4vla.export.quantization.lowering import lower_graph
from st4vla.export.quantization.recipe import GraphRecipe
from st4vla.export.weightless import prompt_head, prompt_sizes, untrained_tokenizer
from st4vla.training.checkpoint import TOKENIZER_FILE, WEIGHTS_FILE, load_checkpoint
from st4vla.training.empty_policy import TIED, build_empty_policy
from st4vla.training.presets import Preset, get_preset

#: How safetensors calls what torch calls otherwise, and the bytes of a number.
_STORED = {"float32": ("F32", 4), "bfloat16": ("BF16", 2)}
#: Of random weights: small enough that no state grows beyond numbers.
_DEVIATION = 0.02


def write_random_checkpoint(folder: Path, name: str, preset: Preset, dtype: str) -> None:
    """Write a checkpoint, one tensor after another.

    Args:
        folder: Where to.
        name: Of the preset.
        preset: It, or what was made of it.
        dtype: ``float32`` or ``bfloat16``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / WEIGHTS_FILE).open("wb") as stream:
        _write_weights(stream, preset, dtype)
    tokenizer = untrained_tokenizer(preset.model.planner.vocabulary)
    write_atomically(folder / TOKENIZER_FILE, tokenizer.to_str().encode())
    manifest = CheckpointManifest(
        format_version=CHECKPOINT_FORMAT,
        preset=name,
        seed=0,
        model=preset.model,
        sampler=preset.sampler,
        views=preset.views,
        action=preset.action,
        statistics=preset.statistics,
        prompt=preset.prompt,
        files={name: file_entry(folder / name) for name in (WEIGHTS_FILE, TOKENIZER_FILE)},
    )
    write_manifest(folder / CHECKPOINT_MANIFEST, manifest)


def export_random_planner(folder: Path, name: str, preset: Preset, float_type: str) -> tuple[Path, GraphTensors]:
    """Write the graph `planner` of random weights, and return its path and what goes in and comes out.

    Args:
        folder: Where to; a checkpoint is beside it.
        name: As in `write_random_checkpoint`, as is the next.
        preset: The preset.
        float_type: ``float32``, or ``float16`` for all of its blocks.
    """
    write_random_checkpoint(folder, name, preset, "float32")
    policy = load_checkpoint(folder).policy
    graph, model = next(graph_models(policy, prompt_head(preset), len(preset.views)))
    path = folder / f"{graph}.onnx"
    save_graph(model, path)
    if float_type != "float32":
        recipe = GraphRecipe(dict.fromkeys(block_names(model.graph), float_type))
        path, whole = folder / float_type / path.name, path
        path.parent.mkdir()
        lower_graph(whole, path, recipe, {})
    spec = graph_spec(path)
    return path, GraphTensors(graph, spec.inputs, spec.outputs, prompt_sizes(preset))


def count_weights(name: str) -> int:
    """Return how many weights a checkpoint of a preset holds."""
    return sum(map(math.prod, _shapes(get_preset(name)).values()))


def _shapes(preset: Preset) -> dict[str, tuple[int, ...]]:
    policy = build_empty_policy(preset.model, preset.action.dim, preset.action.horizon, preset.sampler)
    return {name: tuple(value.shape) for name, value in policy.state_dict().items() if name != TIED}


def _write_weights(stream: BinaryIO, preset: Preset, dtype: str) -> None:
    """Write a safetensors file: the length of its header, the header, and the tensors in the header's order."""
    shapes = _shapes(preset)
    stored, size = _STORED[dtype]
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * size
        header[name] = {"dtype": stored, "shape": shape, "data_offsets": (begin, end)}
    encoded = msgspec.json.encode(header)
    # Tensors begin at a multiple of eight.
    encoded += b" " * (-len(encoded) % 8)
    stream.write(len(encoded).to_bytes(8, "little") + encoded)
    generator = torch.Generator().manual_seed(0)
    for shape in shapes.values():
        tensor = torch.empty(shape).normal_(0, _DEVIATION, generator=generator).to(getattr(torch, dtype))
        stream.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
