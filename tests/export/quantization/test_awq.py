"""Tests of the way to ModelOpt and back, with a program in its place that answers as it does."""

import stat
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from st4vla.contracts.errors import MissingExtraError
from st4vla.export.quantization.awq import quantize_with_modelopt
from st4vla.export.quantization.blocks import find_products
from st4vla.export.quantization.lowering import quantize_weight
from st4vla.export.quantization.scaling import Scaling

PLANNER = Path(__file__).parents[3] / "bundles" / "tiny" / "planner.onnx"
#: Halves of the largest weight of each block of 128 rows, and a scale for each, as ModelOpt leaves them.
PROGRAM = """
import argparse, ml_dtypes, numpy as np, onnx_ir as ir
parser = argparse.ArgumentParser()
for name in ("onnx_path", "output_path", "calibration_data_path", "calibration_shapes", "calibration_eps",
             "calibration_method", "quantize_mode", "high_precision_dtype"):
    parser.add_argument("--" + name, required=True)
options = parser.parse_args()
with np.load(options.calibration_data_path) as data:
    shapes = dict(each.split(":") for each in options.calibration_shapes.split(","))
    assert set(data) == set(shapes) == {"views", "token_ids"}
    assert data["token_ids"].shape == (2, int(shapes["token_ids"].split("x")[1]))
model = ir.load(options.onnx_path)
for node in list(model.graph):
    weight = node.inputs[1] if node.op_type == "MatMul" else None
    if weight is None or weight.const_value is None:
        continue
    array = weight.const_value.numpy()
    block = 128
    count = -(-array.shape[0] // block)
    scales = np.full((count, array.shape[1]), 0.5, np.float32)
    values = [ir.tensor(np.ones(array.shape, ml_dtypes.int4), name=weight.name + "_i4"),
              ir.tensor(scales, name=weight.name + "_scale")]
    made = [
        ir.Value(name=each.name, const_value=each, shape=each.shape, type=ir.TensorType(each.dtype)) for each in values
    ]
    for each in made:
        model.graph.initializers.add(each)
    dequantize = ir.node("DequantizeLinear", made, {"axis": 0, "block_size": block}, name=node.name + "_DQ")
    model.graph.insert_before(node, dequantize)
    node.replace_input_with(1, dequantize.outputs[0])
ir.save(model, options.output_path)
open(options.onnx_path, "wb").close()
"""


def program(folder: Path, body: str) -> Path:
    """Return an interpreter that runs `body` whatever module it is asked for."""
    (folder / "body.py").write_text(body)
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nshift 2\nexec "{sys.executable}" "{folder / "body.py"}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def runs(*lengths: int) -> list[dict[str, np.ndarray]]:
    return [
        {"views": np.zeros((2, 224, 224, 3), np.uint8), "token_ids": np.ones((1, length), np.int64)}
        for length in lengths
    ]


def test_weights_come_back_by_module_and_take_the_place_of_rounded_ones(tmp_path: Path) -> None:
    before = PLANNER.read_bytes()
    found = quantize_with_modelopt(program(tmp_path, PROGRAM), PLANNER, runs(201, 190, 201), tmp_path)
    assert PLANNER.read_bytes() == before
    products = {product.module: product.rows for product in find_products(ir.load(PLANNER).graph)}
    # 588 rows, those of a patch, divide into no blocks.
    assert set(found) == {module for module, rows in products.items() if rows != 588}
    weight = found["layers.0.self_attn.q_proj"]
    assert (weight.block, weight.scales.shape) == (64, (1, 64))
    scaling = Scaling(np.ones(64, np.float32), 1.0, int4=weight)
    taken = quantize_weight("int4", np.zeros((64, 64), np.float32), "float16", scaling)
    assert taken is not None
    assert (taken.floats() == 0.5).all()


def test_a_program_that_fails_or_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"failed in .*python, and said 'no CUDA'"):
        quantize_with_modelopt(program(tmp_path, "raise SystemExit('no CUDA')"), PLANNER, runs(201), tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(MissingExtraError, match=r"cannot be run .* pip install 'nvidia-modelopt"):
        quantize_with_modelopt(tmp_path / "none", PLANNER, runs(201), other)
