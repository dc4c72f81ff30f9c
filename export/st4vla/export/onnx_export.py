"""Write the policy's three graphs as ONNX."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from st4vla.contracts.ddim import DdimCoefficients
from st4vla.export.bridge_graph import BridgeGraph
from st4vla.export.planner_graph import PlannerGraph
from st4vla.export.sampler_graph import SamplerGraph
from st4vla.training.policy import St4vlaPolicy

OPSET = 20
#: Tokens that follow a prompt's head at least.
MIN_TAIL = 2


def export_graphs(policy: St4vlaPolicy, head_ids: Sequence[int], view_count: int, folder: Path) -> dict[str, Path]:
    """Write `planner.onnx`, `bridge.onnx` and `sampler.onnx`, and return their paths by graph name.

    The length of the prompt, named ``L``, is dynamic; all else is static.

    Args:
        policy: In evaluation mode.
        head_ids: Token ids of the prompt's head; see `PlannerGraph`.
        view_count: V.
        folder: Where to write.
    """
    side, net, bridge = policy.config.image_size, policy.action_model.net, policy.config.bridge
    views = torch.zeros(view_count, side, side, 3, dtype=torch.uint8)
    tail = torch.zeros(16, dtype=torch.int64)
    token_ids = torch.cat([torch.tensor(list(head_ids)), tail])[None]
    plan = torch.zeros(bridge.num_layers, token_ids.shape[1], bridge.dim)
    chunk = torch.zeros(1, net.horizon, net.x_embedder.linear.in_features)
    condition = torch.zeros(1, bridge.num_queries, bridge.dim)
    length = torch.export.Dim("L", min=len(head_ids) + MIN_TAIL, max=32_768)
    plan_inputs = {"views": views, "plan_keys": plan, "plan_values": plan.clone()}
    step_inputs = {
        "condition": condition,
        "chunk": chunk,
        "timestep": torch.zeros(1, dtype=torch.int64),
        "coefficients": torch.ones(len(DdimCoefficients._fields)),
        "prefix": chunk.clone(),
        "prefix_weights": chunk[..., 0].clone(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.onnx" for name in ("planner", "bridge", "sampler")}
    _export(
        PlannerGraph(policy, head_ids),
        {"views": views, "token_ids": token_ids},
        ["plan_keys", "plan_values"],
        paths["planner"],
        {"views": None, "token_ids": {1: length}},
    )
    plan_length = torch.export.Dim("L", min=2, max=32_768)
    dynamic = {"views": None, "plan_keys": {1: plan_length}, "plan_values": {1: plan_length}}
    _export(BridgeGraph(policy), plan_inputs, ["condition"], paths["bridge"], dynamic)
    _export(SamplerGraph(policy), step_inputs, ["next_chunk"], paths["sampler"], None)
    return paths


def _export(
    module: nn.Module,
    inputs: dict[str, Tensor],
    outputs: list[str],
    path: Path,
    dynamic: dict[str, dict[int, object] | None] | None,
) -> None:
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=dynamic,
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None  # noqa: S101 - what the exporter returns when it is given no path
        _forget_origin(program.model)
        program.save(str(path), external_data=False)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter says of its own internals; what counts is the parity of the result."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _forget_origin(model: Any) -> None:
    """Drop the stack traces that the exporter leaves: they name files of this machine, and no engine reads them."""
    for graph in (model.graph, *model.functions.values()):
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.outputs):
            value.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
