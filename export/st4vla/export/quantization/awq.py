"""int4 weights by AWQ, from NVIDIA ModelOpt: a program of its own, in an environment of its own.

ModelOpt pins other versions of ONNX and ONNX Runtime than ours, so it is called with the interpreter of an environment
that has it: ``pip install 'nvidia-modelopt[onnx]==0.47.0'``. It searches for each block of weights the clipping with
which its products err least on real inputs (Lin et al., "AWQ", 2023). It needs no GPU.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from st4vla.contracts.errors import MissingExtraError
from st4vla.export.onnx_export import WEIGHTS_SUFFIX
from st4vla.export.quantization.editing import numbers
from st4vla.export.quantization.weights import QuantizedWeight, fits_int4
from st4vla.runtime.engines.engine import Array

_PROGRAM = "modelopt.onnx.quantization"


def quantize_with_modelopt(
    python: Path, graph: Path, runs: Sequence[Mapping[str, Array]], work: Path
) -> dict[str, QuantizedWeight]:
    """Return the weights of a graph's products in int4, by module.

    Products whose weights do not divide into blocks are left out.

    Args:
        python: Interpreter of an environment with ModelOpt.
        graph: A float32 graph of `export_graphs`.
        runs: Its inputs, one mapping a run; those of the most frequent shapes are used.
        work: Folder for files on the way.

    Raises:
        MissingExtraError: The program cannot be run, or fails; the message holds what it said last.
    """
    folder = work / "awq"
    folder.mkdir()
    # It writes beside its input, and into it: it gets a copy.
    for name in (graph.name, graph.name + WEIGHTS_SUFFIX):
        shutil.copy(graph.parent / name, folder / name)
    shapes = Counter(tuple((name, array.shape) for name, array in run.items()) for run in runs).most_common(1)[0][0]
    chosen = [run for run in runs if tuple((name, array.shape) for name, array in run.items()) == shapes]
    inputs, target = folder / "inputs.npz", folder / "int4.onnx"
    arrays: dict[str, Any] = {name: np.concatenate([run[name] for run in chosen]) for name, _ in shapes}
    np.savez(inputs, **arrays)
    said = ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes)
    _call(
        [
            *(str(python), "-m", _PROGRAM, "--quantize_mode", "int4", "--calibration_method", "awq_clip"),
            *("--onnx_path", str(folder / graph.name), "--output_path", str(target)),
            *("--calibration_data_path", str(inputs), "--calibration_shapes", said, "--calibration_eps", "cpu"),
            *("--high_precision_dtype", "fp32"),
        ]
    )
    return _read(ir.load(target).graph)


def _call(command: list[str]) -> None:
    remedy = "pip install 'nvidia-modelopt[onnx]==0.47.0' into an environment of its own and name its interpreter"
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user named it
    except OSError as error:
        raise MissingExtraError(f"{command[0]} cannot be run ({error}); {remedy}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["nothing"]
        raise MissingExtraError(f"{_PROGRAM} failed in {command[0]}, and said {lines[-1]!r}; {remedy}")


def _read(graph: ir.Graph) -> dict[str, QuantizedWeight]:
    weights: dict[str, QuantizedWeight] = {}
    for node in graph:
        source = node.inputs[1].producer() if node.op_type == "MatMul" and node.inputs[1] is not None else None
        if source is None or source.op_type != "DequantizeLinear":
            continue
        values, scales = source.inputs[0], source.inputs[1]
        assert values is not None and scales is not None  # noqa: PT018, S101 - the operator has both
        whole, factors = numbers(values), numbers(scales).astype(np.float32)
        block = min(source.attributes.get_int("block_size", 0), whole.shape[0])
        if fits_int4(block) and factors.shape[0] * block == whole.shape[0]:
            weights[str(node.name).partition("/")[0]] = QuantizedWeight(whole, factors, block)
    return weights
