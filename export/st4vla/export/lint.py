"""Hold a graph against what the ONNX parser of TensorRT 10 takes, and against what a device computes in.

The table of operators is that of TensorRT 10's parser; JetPack 6.2 has 10.3. It says which element types an operator's
data may have; indices and shapes, whose type is part of the operator, are not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from st4vla.export.targets import Target

OPERATORS = Path(__file__).with_name("tensorrt10_operators.json")
#: TensorRT 10.3 reads operator sets up to 20, and INT4 weights of 21.
MAX_OPSET = 21
_NAMES = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT8: "INT8",
    TensorProto.INT4: "INT4",
    TensorProto.FLOAT8E4M3FN: "FP8",
}
#: Element types whose presence means that the hardware must compute in them.
_PRECISIONS = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.INT8: "int8",
    TensorProto.INT4: "int4",
    TensorProto.FLOAT8E4M3FN: "float8",
    TensorProto.FLOAT4E2M1: "float4",
}


@dataclass(frozen=True)
class Finding:
    """What would not work, where, and what to do."""

    node: str
    problem: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.node}: {self.problem}" if self.node else self.problem


def lint(model: ModelProto, target: Target) -> list[Finding]:
    """Return what TensorRT 10 or the target's hardware would refuse; nothing is good.

    Args:
        model: A graph; its weights need not be loaded.
        target: The device.
    """
    findings = [
        Finding("", f"operators of domain {each.domain!r}, which TensorRT does not know")
        for each in model.opset_import
        if each.domain not in {"", "ai.onnx"}
    ]
    opset = max((each.version for each in model.opset_import if each.domain in {"", "ai.onnx"}), default=0)
    if opset > MAX_OPSET:
        findings.append(Finding("", f"operator set {opset}; export again with {MAX_OPSET} or an older one"))
    types = element_types(model)
    for node in model.graph.node:
        findings.extend(_lint_node(node, types, opset))
    used = {_PRECISIONS[kind] for kind in types.values() if kind in _PRECISIONS}
    known = ", ".join(sorted(target.precisions))
    findings.extend(
        Finding("", f"{precision}: {target.title} has no hardware for it; it computes in {known}")
        for precision in sorted(used - target.precisions)
    )
    return findings


def element_types(model: ModelProto) -> dict[str, int]:
    """Return the element type of every tensor that shape inference reaches."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {each.name: each.data_type for each in graph.initializer}


@cache
def _operators() -> dict[str, list[str]]:
    table: dict[str, list[str]] = json.loads(OPERATORS.read_text())
    return table


def _lint_node(node: NodeProto, types: dict[str, int], opset: int) -> Iterator[Finding]:
    where = f"{node.op_type} {node.name or node.output[0]}"
    if node.domain not in {"", "ai.onnx"}:
        yield Finding(where, f"not an operator of ONNX itself but of {node.domain}")
        return
    allowed = _operators().get(node.op_type)
    if allowed is None:
        yield Finding(where, "TensorRT 10 does not know this operator")
        return
    for name in _data_inputs(node, opset):
        kind = _NAMES.get(types.get(name, TensorProto.FLOAT), "another type")
        if kind not in allowed:
            yield Finding(where, f"its input {name} is {kind}; TensorRT 10 takes {', '.join(allowed)}: cast it first")


def _data_inputs(node: NodeProto, opset: int) -> list[str]:
    """Return the inputs whose type is the operator's first type parameter: its data, not its indices or shapes."""
    schema = onnx.defs.get_schema(node.op_type, opset)
    if not schema.inputs:
        return []
    parameter = "T" if any(each.type_str == "T" for each in schema.inputs) else schema.inputs[0].type_str
    formal = [each.type_str for each in schema.inputs]
    # The last formal input of some operators stands for as many as there are.
    return [name for index, name in enumerate(node.input) if name and formal[min(index, len(formal) - 1)] == parameter]
