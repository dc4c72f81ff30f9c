"""Tests that the lint finds what TensorRT 10.3 and a device's hardware refuse."""

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from st4vla.contracts.errors import UsageError
from st4vla.contracts.manifests import GRAPH_NAMES
from st4vla.export.lint import lint
from st4vla.export.targets import TARGETS, get_target

TINY = Path(__file__).parents[2] / "bundles" / "tiny"
ORIN, THOR = TARGETS["orin-nx-16"], TARGETS["thor"]


def one_node(op: str, kind: int, domain: str = "", opset: int = 20, **attributes: object) -> ModelProto:
    node = helper.make_node(op, ["x"], ["y"], name="it", domain=domain, **attributes)
    x, y = (helper.make_tensor_value_info(name, kind, (2, 3)) for name in ("x", "y"))
    domains = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=domains)


def found(model: ModelProto) -> list[str]:
    return [str(finding) for finding in lint(model, ORIN)]


@pytest.mark.parametrize("graph", GRAPH_NAMES)
@pytest.mark.parametrize("target", TARGETS)
def test_the_tiny_bundle_has_nothing_that_any_target_refuses(graph: str, target: str) -> None:
    model = onnx.load(str(TINY / f"{graph}.onnx"))
    assert lint(model, get_target(target)) == []


def test_bytes_that_are_moved_before_they_are_numbers_are_found() -> None:
    (problem,) = found(one_node("Transpose", TensorProto.UINT8))
    assert problem.startswith("Transpose it: its input x is UINT8; TensorRT 10 takes FP32, ")
    assert found(one_node("Transpose", TensorProto.FLOAT16)) == []


def test_operators_that_the_parser_does_not_have_are_found() -> None:
    assert "TensorRT 10 does not know this operator" in found(one_node("Det", TensorProto.FLOAT))[0]
    problems = found(one_node("MatMulNBits", TensorProto.FLOAT, domain="com.microsoft"))
    assert "domain 'com.microsoft'" in problems[0]
    assert problems[1].startswith("MatMulNBits it: not an operator of ONNX itself")


def test_a_newer_operator_set_is_found() -> None:
    assert "operator set 23; export again with 21" in found(one_node("Relu", TensorProto.FLOAT, opset=23))[0]


def test_a_precision_without_hardware_is_refused_by_its_name_and_only_there() -> None:
    cast = one_node("Cast", TensorProto.FLOAT, to=TensorProto.FLOAT8E4M3FN)
    cast.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT8E4M3FN
    (problem,) = lint(cast, ORIN)
    assert str(problem).startswith("float8: Jetson Orin NX 16 GB has no hardware for it; it computes in bfloat16, ")
    assert lint(cast, THOR) == []


def test_an_unknown_target_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown target 'orin'; known are orin-agx-64, orin-agx-32, orin-nx-16"):
        get_target("orin")
