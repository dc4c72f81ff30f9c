"""Whole numbers as ONNX Runtime multiplies them fastest on a CPU: int8 weights, activations rounded in each run.

The quantiser is ONNX Runtime's, by way of Optimum; which products it may touch is the recipe's.

Activations are unsigned. Weights are signed where the processor adds such products without loss (VNNI on x86, dot
products on ARM). An x86 without VNNI adds them in 16 bits, which overflow; there they are unsigned, at half the speed
that VNNI has or less.
"""

from __future__ import annotations

import logging
import platform
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from st4vla.export.onnx_export import WEIGHTS_SUFFIX, save_graph
from st4vla.export.quantization.blocks import find_products
from st4vla.export.quantization.cpu_graph import rewrite_for_cpu
from st4vla.export.quantization.recipe import GraphRecipe

#: Bytes of weights that are kept in one file with their graph while it is quantised; 2 GiB is the most that one holds.
_ONE_FILE = 1_500_000_000


def quantize_dynamically(source: Path, target: Path, recipe: GraphRecipe) -> None:
    """Write a graph for ONNX Runtime's CPU provider.

    Args:
        source: A float32 graph of `export_graphs`.
        target: Where to; another folder's.
        recipe: Blocks of ``int8_dynamic`` are quantised, all others stay as they are.
    """
    from optimum.onnxruntime import ORTQuantizer  # noqa: PLC0415 - takes seconds to import
    from optimum.onnxruntime.configuration import AutoQuantizationConfig  # noqa: PLC0415

    model = ir.load(source)
    rewrite_for_cpu(model)
    chosen = recipe.blocks_of("int8_dynamic")
    nodes = [str(product.node.name) for product in find_products(model.graph) if product.block in chosen]
    if not nodes:
        save_graph(model, target)
        return
    kind = AutoQuantizationConfig.avx512_vnni if adds_signed_products() else AutoQuantizationConfig.avx2
    config = kind(is_static=False, per_channel=True)
    config.nodes_to_quantize = nodes
    config.operators_to_quantize = ["MatMul"]
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        previous = logging.root.manager.disable
        logging.disable(logging.WARNING)
        rewritten = Path(folder) / source.name
        save_graph(model, rewritten)
        try:
            quantizer = ORTQuantizer(rewritten)
            quantizer.quantize(config, folder, file_suffix="quantized", use_external_data_format=_is_large(rewritten))
        finally:
            logging.disable(previous)
        quantized = ir.load(Path(folder) / f"{source.stem}_quantized.onnx")
        quantized.producer_name = None
        save_graph(quantized, target)


def adds_signed_products(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Say whether this processor adds products of unsigned and signed bytes without loss."""
    if platform.machine() != "x86_64":
        return True
    try:
        return bool({"avx512_vnni", "avx_vnni"} & set(cpuinfo.read_text(encoding="ascii", errors="replace").split()))
    except OSError:
        return False


def _is_large(graph: Path) -> bool:
    """Say whether a graph with its weights does not fit into one file of Protocol Buffers, or hardly."""
    weights = graph.with_name(graph.name + WEIGHTS_SUFFIX)
    return weights.is_file() and weights.stat().st_size > _ONE_FILE
