"""Whole numbers as ONNX Runtime multiplies them fastest on a CPU: int8 weights, activations rounded in each run.

The quantiser is ONNX Runtime's, by way of Optimum; which products it may touch is the recipe's.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from st4vla.export.onnx_export import WEIGHTS_SUFFIX, save_graph
from st4vla.export.quantization.blocks import find_products
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

    chosen = recipe.blocks_of("int8_dynamic")
    nodes = [str(product.node.name) for product in find_products(ir.load(source).graph) if product.block in chosen]
    if not nodes:
        save_graph(ir.load(source), target)
        return
    config = AutoQuantizationConfig.avx2(is_static=False, per_channel=True, reduce_range=False)
    config.nodes_to_quantize = nodes
    config.operators_to_quantize = ["MatMul"]
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        previous = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            quantizer = ORTQuantizer(source)
            quantizer.quantize(config, folder, file_suffix="quantized", use_external_data_format=_is_large(source))
        finally:
            logging.disable(previous)
        model = ir.load(Path(folder) / f"{source.stem}_quantized.onnx")
        model.producer_name = None
        save_graph(model, target)


def _is_large(graph: Path) -> bool:
    """Say whether a graph with its weights does not fit into one file of Protocol Buffers, or hardly."""
    weights = graph.with_name(graph.name + WEIGHTS_SUFFIX)
    return weights.is_file() and weights.stat().st_size > _ONE_FILE
