"""A checkpoint's graphs, tokenizer, statistics and golden numbers in one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor

from st4vla.contracts.ddim import DdimStep, ddim_steps
from st4vla.contracts.errors import UsageError
from st4vla.contracts.files import file_entry, write_manifest
from st4vla.contracts.folders import replaced_folder
from st4vla.contracts.manifests import BUNDLE_FORMAT, BUNDLE_MANIFEST, BundleManifest, GraphSpec, Quantization
from st4vla.contracts.messages import MAX_BUNDLE_NAME_BYTES
from st4vla.contracts.tensor_spec import SizeRange, TensorSpec
from st4vla.export.bridge_graph import Cells
from st4vla.export.onnx_export import MIN_TAIL, export_graphs
from st4vla.export.planner_graph import PlannerGraph
from st4vla.training.checkpoint import Checkpoint, load_checkpoint
from st4vla.training.model.diffusion import ddim_step
from st4vla.training.model.planner import normalize_views
from st4vla.training.policy import IMAGENET_MEAN, IMAGENET_STD, St4vlaPolicy

GOLDEN_INSTRUCTION = "pick up the red cube"
GOLDEN_SEED = 20260
TOKENIZER, GOLDEN = "tokenizer.json", "golden.npz"


@dataclass(frozen=True)
class Shown:
    """What golden numbers are made of.

    Attributes:
        views: uint8 [V, H, W, 3].
        instruction: What the policy is told.
    """

    views: npt.NDArray[np.uint8]
    instruction: str


@dataclass(frozen=True)
class Graphs:
    """What is written of a checkpoint.

    Attributes:
        write: Writes the graphs into a folder and returns their paths by name; what else it leaves there belongs to
            the bundle too.
        quantization: What was measured of graphs that are not float32.
        shown: What golden numbers are made of; None for pictures of coloured squares.
    """

    write: Callable[[Path], Mapping[str, Path]]
    quantization: Quantization | None = None
    shown: Shown | None = None


def export_bundle(checkpoint: Checkpoint, folder: Path, *, name: str, embodiment: str | None = None) -> BundleManifest:
    """Write a bundle of float32 graphs; see `write_bundle`."""
    chosen = choose_embodiment(checkpoint, embodiment)
    graphs = Graphs(
        lambda work: export_graphs(checkpoint.policy, head_ids_of(checkpoint), len(checkpoint.manifest.views), work)
    )
    return write_bundle(checkpoint, folder, graphs, name=name, embodiment=chosen)


def write_bundle(checkpoint: Checkpoint, folder: Path, graphs: Graphs, *, name: str, embodiment: str) -> BundleManifest:
    """Write a bundle; a bundle that is in its place already is replaced when the new one is whole.

    Args:
        checkpoint: What training left, in float32.
        folder: Where to.
        graphs: What is written.
        name: What the bundle is called.
        embodiment: Whose action statistics it carries; see `choose_embodiment`.

    Raises:
        UsageError: `folder` holds something else, or the name is too long.
    """
    source = checkpoint.manifest
    check_name(name)
    with replaced_folder(folder, BUNDLE_MANIFEST, "a bundle") as work:
        head_ids = head_ids_of(checkpoint)
        paths = graphs.write(work)
        checkpoint.tokenizer.save(str(work / TOKENIZER))
        np.savez_compressed(work / GOLDEN, **golden_numbers(checkpoint, head_ids, graphs.shown or squares(checkpoint)))
        manifest = BundleManifest(
            format_version=BUNDLE_FORMAT,
            name=name,
            preset=source.preset,
            embodiment=embodiment,
            views=source.views,
            action=source.action,
            statistics=source.statistics[embodiment],
            prompt=source.prompt,
            sampler=source.sampler,
            graphs={graph: graph_spec(path) for graph, path in paths.items()},
            sizes={"L": _prompt_lengths(checkpoint, len(head_ids))},
            tokenizer=TOKENIZER,
            golden=GOLDEN,
            files={path.name: file_entry(path) for path in sorted(work.iterdir())},
            quantization=graphs.quantization,
        )
        write_manifest(work / BUNDLE_MANIFEST, manifest)
    return manifest


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint as graphs, folds and golden numbers need it: in float32, whatever it is stored in.

    Raises:
        ManifestError, FileMissingError, FileAlteredError: It is not whole.
    """
    return load_checkpoint(folder, torch.float32)


def check_name(name: str) -> None:
    """Refuse a bundle's name that does not fit on the wire.

    Raises:
        UsageError: It is empty or too long.
    """
    if not 1 <= len(name.encode()) <= MAX_BUNDLE_NAME_BYTES:
        msg = f"bundle name {name!r}: 1 to {MAX_BUNDLE_NAME_BYTES} bytes fit on the wire; choose another with --name"
        raise UsageError(msg)


def choose_embodiment(checkpoint: Checkpoint, name: str | None) -> str:
    """Return whose action statistics a bundle carries.

    Raises:
        UsageError: It is not the checkpoint's, or was not named although the checkpoint has several.
    """
    known = sorted(checkpoint.manifest.statistics)
    chosen = name if name is not None else (known[0] if len(known) == 1 else "")
    if chosen not in known:
        msg = f"embodiment {name!r}: choose one of {', '.join(known)} with --embodiment"
        raise UsageError(msg)
    return chosen


def head_ids_of(checkpoint: Checkpoint) -> list[int]:
    """Return the token ids of the head that every prompt begins with."""
    ids: list[int] = checkpoint.tokenizer.encode(checkpoint.manifest.prompt.head, add_special_tokens=False).ids
    return ids


def squares(checkpoint: Checkpoint) -> Shown:
    """Return pictures of coloured squares, always the same, and an instruction."""
    source = checkpoint.manifest
    view, rng = source.views[0], np.random.default_rng(GOLDEN_SEED)
    views = rng.integers(0, 256, (len(source.views), view.height // 28, view.width // 28, 3), np.uint8)
    return Shown(views.repeat(28, axis=1).repeat(28, axis=2), GOLDEN_INSTRUCTION)


def golden_numbers(checkpoint: Checkpoint, head_ids: list[int], shown: Shown) -> dict[str, Any]:
    """Return inputs, and what PyTorch makes of them, under ``GRAPH/input/NAME`` and ``GRAPH/output/NAME``.

    A whole chunk lies under ``policy``. Condition, step and actions come from the policy as it was trained, without any
    fold.
    """
    source, policy = checkpoint.manifest, checkpoint.policy
    rng = np.random.default_rng(GOLDEN_SEED + 1)
    views, action = shown.views, source.action
    text = source.prompt.render(shown.instruction)
    token_ids = np.array([checkpoint.tokenizer.encode(text, add_special_tokens=False).ids], np.int64)
    noise = rng.standard_normal((1, action.horizon, action.dim), np.float32)
    prefix = np.clip(rng.standard_normal((1, action.horizon, action.dim), np.float32), -1, 1)
    weights = np.linspace(1, 0, action.horizon, dtype=np.float32)[None]
    pixels, ids = torch.from_numpy(views), torch.from_numpy(token_ids)
    with torch.no_grad():
        plan_keys, plan_values = (tensor.numpy() for tensor in PlannerGraph(policy, head_ids)(pixels, ids))
        condition = policy.condition(policy.plan(pixels[None], ids), pixels[None])
        tensors = [torch.from_numpy(array) for array in (noise, prefix, weights)]
        actions = policy.act(pixels[None], ids, *tensors).numpy()
        visual = policy.dino_encoder.body(normalize_views(pixels, IMAGENET_MEAN, IMAGENET_STD))
        cells = Cells(policy.config.encoder.dim)(visual).numpy()
        embedded = policy.action_model.net.z_embedder.linear(condition).numpy()
        step = ddim_steps(source.sampler.num_steps)[source.sampler.num_steps // 2]
        next_chunk = _step(policy, condition, step, *tensors).numpy()
    chunk = {"noise": noise, "prefix": prefix, "prefix_weights": weights}
    coefficients = np.array(step.coefficients, np.float32)
    inputs = {
        "planner": {"views": views, "token_ids": token_ids},
        "bridge": {"views": views, "plan_keys": plan_keys, "plan_values": plan_values},
        "sampler": {
            "condition": embedded,
            "chunk": noise,
            "timestep": np.array([step.timestep], np.int64),
            "coefficients": coefficients,
            "prefix": prefix,
            "prefix_weights": weights,
        },
        "policy": {"views": views, "token_ids": token_ids, **chunk},
    }
    outputs = {
        "planner": {"plan_keys": plan_keys, "plan_values": plan_values},
        "bridge": {"condition": embedded, "cells": cells},
        "sampler": {"next_chunk": next_chunk},
        "policy": {"actions": actions},
    }
    sides = (("input", inputs), ("output", outputs))
    return {
        f"{graph}/{side}/{name}": array
        for side, graphs in sides
        for graph, arrays in graphs.items()
        for name, array in arrays.items()
    }


def _prompt_lengths(checkpoint: Checkpoint, head: int) -> SizeRange:
    prompt = checkpoint.manifest.prompt
    typical = len(checkpoint.tokenizer.encode(prompt.render(GOLDEN_INSTRUCTION), add_special_tokens=False).ids)
    return SizeRange(head + MIN_TAIL, typical, max(typical, prompt.max_tokens))


def _step(policy: St4vlaPolicy, condition: Tensor, step: DdimStep, *chunk: Tensor) -> Tensor:
    """Return what one step of the policy's own network makes of noise, prefix and prefix weights."""
    noise, prefix, weights = chunk
    net, sampler = policy.action_model.net, policy.sampler
    if sampler.guidance_scale > 1:
        condition = torch.cat([condition, net.unconditional(1)])
    t = torch.full((len(condition),), step.timestep)
    return ddim_step(
        net,
        condition,
        noise,
        t,
        step.coefficients,
        sampler.guidance_scale,
        prefix,
        weights,
        clean_prefix=sampler.clean_prefix,
    )


def graph_spec(path: Path) -> GraphSpec:
    """Return the inputs and outputs that an ONNX file declares."""
    graph = onnx.load(path, load_external_data=False).graph

    def spec(value: Any) -> TensorSpec:
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        shape = tuple(size.dim_param or int(size.dim_value) for size in tensor.shape.dim)
        return TensorSpec(value.name, dtype, shape)

    return GraphSpec(path.name, tuple(map(spec, graph.input)), tuple(map(spec, graph.output)))
