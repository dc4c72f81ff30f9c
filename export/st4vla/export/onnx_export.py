"""Write the policy's three graphs as ONNX, weights beside them.

Weights are written one by one, straight from the policy's: memory holds no second copy of them.
"""

import ast
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxscript.optimizer
import torch
from onnx import ModelProto
from torch import Tensor, nn

from st4vla.contracts.ddim import DdimCoefficients
from st4vla.export.bridge_graph import BridgeGraph
from st4vla.export.planner_graph import PlannerGraph
from st4vla.export.sampler_graph import SamplerGraph
from st4vla.training.policy import St4vlaPolicy

OPSET = 20
#: Tokens that follow a prompt's head at least.
MIN_TAIL = 2
#: Of a graph's file, for that of its weights.
WEIGHTS_SUFFIX = ".data"
#: Constants of more bytes lie in the file of weights, and are not computed with while a graph is written.
LARGE_BYTES = 1024
#: Under which the exporter keeps the modules of a node.
_SCOPES = "pkg.torch.onnx.name_scopes"


def export_graphs(policy: St4vlaPolicy, head_ids: Sequence[int], view_count: int, folder: Path) -> dict[str, Path]:
    """Write `planner.onnx`, `bridge.onnx` and `sampler.onnx`, and return their paths by graph name.

    Beside each lie its weights, under its name with `WEIGHTS_SUFFIX`.

    Args:
        policy: As in `graph_models`, as are the next two.
        head_ids: Token ids of the prompt's head.
        view_count: V.
        folder: Where to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, model in graph_models(policy, head_ids, view_count):
        paths[name] = folder / f"{name}.onnx"
        save_graph(model, paths[name])
    return paths


def graph_models(policy: St4vlaPolicy, head_ids: Sequence[int], view_count: int) -> Iterator[tuple[str, ir.Model]]:
    """Yield the graphs by name, `planner`, `bridge` and `sampler`; their weights are still the policy's.

    Nodes and weights are named after the module that they come from, such as ``transformer.blocks.3.attn.qkv``.

    The length of the prompt, named ``L``, is dynamic; all else is static.

    Args:
        policy: In evaluation mode.
        head_ids: Token ids of the prompt's head; see `PlannerGraph`.
        view_count: V.
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
    yield (
        "planner",
        to_onnx(
            PlannerGraph(policy, head_ids),
            {"views": views, "token_ids": token_ids},
            ["plan_keys", "plan_values"],
            {"views": None, "token_ids": {1: length}},
        ),
    )
    plan_length = torch.export.Dim("L", min=2, max=32_768)
    dynamic = {"views": None, "plan_keys": {1: plan_length}, "plan_values": {1: plan_length}}
    yield "bridge", to_onnx(BridgeGraph(policy), plan_inputs, ["condition", "cells"], dynamic)
    yield "sampler", to_onnx(SamplerGraph(policy), step_inputs, ["next_chunk"])


def save_graph(model: ir.Model, path: Path) -> None:
    """Write a graph, its weights beside it, one after another."""
    ir.save(model, path, external_data=path.name + WEIGHTS_SUFFIX, size_threshold_bytes=LARGE_BYTES)


def without_weights(model: ir.Model) -> ModelProto:
    """Return a graph that says of its large weights what they are, and where they would lie if it were saved."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.nbytes > LARGE_BYTES:
            value.const_value = ir.ExternalTensor(
                f"{model.graph.name}{WEIGHTS_SUFFIX}",
                0,
                tensor.nbytes,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=str(value.name),
            )
    return ir.to_proto(model)


def to_onnx(
    module: nn.Module,
    inputs: dict[str, Tensor],
    outputs: list[str],
    dynamic: dict[str, dict[int, object] | None] | None = None,
) -> ir.Model:
    """Return one module as a graph.

    Args:
        module: What is exported.
        inputs: Examples of its arguments, by name.
        outputs: Names of what it returns.
        dynamic: Dimensions of each input that are; None where none is.
    """
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
            optimize=False,
        )
        assert program is not None  # noqa: S101 - what the exporter returns when it is given no path
        model: ir.Model = program.model
        onnxscript.optimizer.optimize_ir(model, should_fold=_should_fold)
        _split_gemms(model)
        _turn_weights(model)
        _name_by_module(model)
    return model


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


def _should_fold(node: ir.Node) -> bool | None:
    """Leave weights as they are; None is for the optimiser's own judgement."""
    sizes = [value.const_value.nbytes for value in node.inputs if value is not None and value.const_value is not None]
    return False if max(sizes, default=0) > LARGE_BYTES else None


def _split_gemms(model: ir.Model) -> None:
    """Write products of matrices with a bias as all other products are written: a product, and a sum."""
    for node in [node for node in model.graph.all_nodes() if node.op_type == "Gemm"]:
        x, weight, *bias = node.inputs
        tape = ir.tape.Tape()
        if node.attributes.get_int("transB", 0):
            weight = tape.op("Transpose", [weight], {"perm": [1, 0]})
        result = tape.op("MatMul", [x, weight])
        result.type, result.shape = node.outputs[0].type, node.outputs[0].shape
        if bias:
            result = tape.op("Add", [result, *bias])
            result.type, result.shape = node.outputs[0].type, node.outputs[0].shape
        for each in tape.nodes:
            each.metadata_props.update(node.metadata_props)
        ir.convenience.replace_nodes_and_values(model.graph, node, [node], tape.nodes, node.outputs, [result])


def _turn_weights(model: ir.Model) -> None:
    """Replace transposed weights by weights that are turned when they are written."""
    weights = model.graph.initializers
    for node in list(model.graph.all_nodes()):
        source = node.inputs[0] if node.op_type == "Transpose" else None
        if source is None or source.name is None or source.name not in weights or source.const_value is None:
            continue
        turned = _turned(source.const_value, node.attributes["perm"].as_ints())
        # The name is free where nothing else reads the weight.
        name = source.name if len(source.uses()) == 1 else f"{source.name}.T"
        value = ir.Value(name=name, type=source.type, shape=turned.shape, const_value=turned)
        ir.convenience.replace_all_uses_with(node.outputs[0], value)
        model.graph.remove(node, safe=True)
        if not source.uses():
            del weights[source.name]
        weights.add(value)


def _turned(tensor: ir.TensorProtocol, order: Sequence[int]) -> ir.LazyTensor:
    sizes = tensor.shape.numpy()
    shape = ir.Shape([sizes[axis] for axis in order])

    def turn() -> ir.TensorProtocol:
        return ir.Tensor(np.ascontiguousarray(tensor.numpy().transpose(order)), dtype=tensor.dtype)

    return ir.LazyTensor(turn, dtype=tensor.dtype, shape=shape, cache=False)


def _name_by_module(model: ir.Model) -> None:
    """Name nodes after their modules, and drop what else the exporter says of where they come from.

    Stack traces name files of this machine.
    """
    counts: dict[str, int] = {}
    graph = model.graph
    graph.metadata_props.clear()
    for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
        value.metadata_props.clear()
    for node in graph.all_nodes():
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
        # The last one is the operation's own; what begins with an underscore is the exporter's.
        module = next((scope for scope in reversed(scopes[:-1]) if scope and scope[0] != "_"), "")
        name = "/".join(filter(None, (module, node.op_type)))
        counts[name] = count = counts.get(name, 0) + 1
        node.name = f"{name}_{count}" if count > 1 else name
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
