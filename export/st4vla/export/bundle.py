"""A checkpoint's graphs, tokenizer, statistics and golden numbers in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from st4vla.contracts.ddim import DdimStep, ddim_steps
from st4vla.contracts.errors import UsageError
from st4vla.contracts.files import file_entry, write_manifest
from st4vla.contracts.folders import replaced_folder
from st4vla.contracts.manifests import BUNDLE_FORMAT, BUNDLE_MANIFEST, BundleManifest, GraphSpec
from st4vla.contracts.messages import MAX_BUNDLE_NAME_BYTES
from st4vla.contracts.tensor_spec import SizeRange, TensorSpec
from st4vla.export.onnx_export import MIN_TAIL, export_graphs
from st4vla.export.planner_graph import PlannerGraph
from st4vla.training.checkpoint import Checkpoint
from st4vla.training.model.diffusion import ddim_step
from st4vla.training.policy import St4vlaPolicy

GOLDEN_INSTRUCTION = "pick up the red cube"
GOLDEN_SEED = 20260
TOKENIZER, GOLDEN = "tokenizer.json", "golden.npz"


def export_bundle(checkpoint: Checkpoint, folder: Path, *, name: str, embodiment: str | None = None) -> BundleManifest:
    """Write a bundle; a bundle that is in its place already is replaced when the new one is whole.

    Args:
        checkpoint: What training left.
        folder: Where to.
        name: What the bundle is called.
        embodiment: Whose action statistics it carries; needed when the checkpoint has several.

    Raises:
        UsageError: `folder` holds something else, the name is too long, or the embodiment is not the checkpoint's.
    """
    source = checkpoint.manifest
    if not 1 <= len(name.encode()) <= MAX_BUNDLE_NAME_BYTES:
        msg = f"bundle name {name!r}: 1 to {MAX_BUNDLE_NAME_BYTES} bytes fit on the wire; choose another with --name"
        raise UsageError(msg)
    known = sorted(source.statistics)
    chosen = embodiment if embodiment is not None else (known[0] if len(known) == 1 else "")
    if chosen not in known:
        msg = f"embodiment {embodiment!r}: choose one of {', '.join(known)} with --embodiment"
        raise UsageError(msg)
    with replaced_folder(folder, BUNDLE_MANIFEST, "a bundle") as work:
        head_ids = checkpoint.tokenizer.encode(source.prompt.head, add_special_tokens=False).ids
        paths = export_graphs(checkpoint.policy, head_ids, len(source.views), work)
        checkpoint.tokenizer.save(str(work / TOKENIZER))
        np.savez_compressed(work / GOLDEN, **golden_numbers(checkpoint, head_ids))
        manifest = BundleManifest(
            format_version=BUNDLE_FORMAT,
            name=name,
            preset=source.preset,
            embodiment=chosen,
            views=source.views,
            action=source.action,
            statistics=source.statistics[chosen],
            prompt=source.prompt,
            sampler=source.sampler,
            graphs={graph: graph_spec(path) for graph, path in paths.items()},
            sizes={"L": _prompt_lengths(checkpoint, len(head_ids))},
            tokenizer=TOKENIZER,
            golden=GOLDEN,
            files={path.name: file_entry(path) for path in sorted(work.iterdir())},
        )
        write_manifest(work / BUNDLE_MANIFEST, manifest)
    return manifest


def golden_numbers(checkpoint: Checkpoint, head_ids: list[int]) -> dict[str, Any]:
    """Return inputs from a seed and what PyTorch makes of them, under ``GRAPH/input/NAME`` and ``GRAPH/output/NAME``.

    A whole chunk lies under ``policy``. Condition, step and actions come from the policy as it was trained, without any
    fold.
    """
    source, policy = checkpoint.manifest, checkpoint.policy
    rng = np.random.default_rng(GOLDEN_SEED)
    view, action = source.views[0], source.action
    views = rng.integers(0, 256, (len(source.views), view.height // 28, view.width // 28, 3), np.uint8)
    views = views.repeat(28, axis=1).repeat(28, axis=2)
    text = source.prompt.render(GOLDEN_INSTRUCTION)
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
        "bridge": {"condition": embedded},
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
