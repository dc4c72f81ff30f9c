"""Turn a float32 graph into one of smaller numbers, as a recipe says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from st4vla.export.onnx_export import save_graph
from st4vla.export.quantization.blocks import Product, block_names, find_products
from st4vla.export.quantization.editing import Editor, numbers
from st4vla.export.quantization.floats import lower_floats
from st4vla.export.quantization.recipe import PINNED, GraphRecipe
from st4vla.export.quantization.scaling import Scaling
from st4vla.export.quantization.weights import Floats, QuantizedWeight, fits_int4, quantize_int4, quantize_int8

#: Operator set with int4 and scales by block.
_INT4_OPSET = 21


def lower_graph(
    source: Path, target: Path, recipe: GraphRecipe, scalings: Mapping[str, Scaling], *, emulate: bool = False
) -> None:
    """Write a graph with smaller numbers, its weights beside it.

    Args:
        source: A graph of `export_graphs`.
        target: Where to; another folder's.
        recipe: What each block becomes.
        scalings: What is known of what each product multiplies, by its module; int8 needs it.
        emulate: Write a graph that rounds as the true one does, but computes in float32, so that every machine can run
            it and none rounds more than it must.

    Raises:
        ValueError: A product in int8 has no scaling.
    """
    model = ir.load(source)
    names = block_names(model.graph)
    _Products(model, recipe, scalings, emulate).lower()
    lower_floats(model.graph, names, recipe.float_types(), emulate=emulate)
    save_graph(model, target)


def quantize_weight(
    precision: str, weight: Floats, scale_type: str, scaling: Scaling | None = None
) -> QuantizedWeight | None:
    """Return a product's weight [in, out] in whole numbers; None where it stays as it is.

    Args:
        precision: Of its block.
        weight: [in, out]; in int8, smoothed already.
        scale_type: What scales are stored as.
        scaling: What is known of its activations: the errors of some rows of int4 count more.
    """
    if precision in {"int8", "int8_dynamic"}:
        return quantize_int8(weight, scale_type)
    if precision == "int4" and scaling is not None and scaling.int4 is not None:
        return scaling.int4.scaled_in(scale_type)
    if precision == "int4" and fits_int4(weight.shape[0]):
        return quantize_int4(weight, scale_type, scaling.importance if scaling else None)
    return None


class _Products:
    """Replaces the products of one graph."""

    def __init__(self, model: ir.Model, recipe: GraphRecipe, scalings: Mapping[str, Scaling], emulate: bool) -> None:
        self._model, self._recipe, self._scalings, self._emulate = model, recipe, scalings, emulate
        self._editor = Editor(model.graph)
        #: What is multiplied, quantised once for all products that read it.
        self._seen: dict[tuple[ir.Value, bytes, float], ir.Value] = {}

    def lower(self) -> None:
        for product in find_products(self._model.graph):
            precision = self._recipe.precisions.get(product.block, "float32")
            if product.block in PINNED:
                continue
            weight = np.asarray(numbers(product.weight), np.float32)
            scaling = self._scalings.get(product.module)
            if precision == "int8":
                if scaling is None:
                    raise ValueError(f"no range is known of what {product.module} multiplies")
                product.node.replace_input_with(0, self._in_range(product, scaling))
                weight = weight * scaling.smoothing[:, None]
            elif precision == "int8_dynamic":
                product.node.replace_input_with(0, self._measured(product))
            around = self._recipe.float_types().get(product.block, "float32")
            quantized = quantize_weight(precision, weight, around, scaling)
            if quantized is not None:
                product.node.replace_input_with(1, self._whole(product, quantized))
        self._editor.drop_unused()

    def _in_range(self, product: Product, scaling: Scaling) -> ir.Value:
        """Return a product's activation, rounded to int8 of a known range."""
        key = product.activation, scaling.smoothing.tobytes(), scaling.scale
        if key not in self._seen:
            node, module, value, single = product.node, product.module, product.activation, ir.DataType.FLOAT
            if scaling.smooths:
                factors = self._editor.constant(f"{module}.smoothing", (1 / scaling.smoothing).astype(np.float32))
                value = self._editor.before(node, "Mul", [value, factors], single, module=module)
            scale = self._editor.constant(f"{module}.scale", np.array(scaling.scale, np.float32))
            zero = self._editor.constant(f"{module}.zero", np.array(0, np.int8))
            whole = self._editor.before(node, "QuantizeLinear", [value, scale, zero], ir.DataType.INT8, module=module)
            self._seen[key] = self._editor.before(node, "DequantizeLinear", [whole, scale, zero], single, module=module)
        return self._seen[key]

    def _measured(self, product: Product) -> ir.Value:
        """Return a product's activation, rounded to uint8 of the range that it has in each run."""
        key = product.activation, b"", 0.0
        if key not in self._seen:
            self._seen[key] = self._editor.dynamic(product.node, product.activation, module=product.module)
        return self._seen[key]

    def _whole(self, product: Product, weight: QuantizedWeight) -> ir.Value:
        """Return a product's weight from whole numbers."""
        name, node, single = str(product.weight.name), product.node, ir.DataType.FLOAT
        if self._emulate:
            return self._editor.computed(f"{name}.rounded", product.weight, single, weight.floats)
        values = self._editor.constant(f"{name}.whole", weight.values)
        scales = self._editor.constant(f"{name}.scales", weight.scales)
        attributes = {"axis": 0, "block_size": weight.block} if weight.block else {"axis": 1}
        if weight.block:
            self._model.graph.opset_imports[""] = _INT4_OPSET
        return self._editor.before(
            node, "DequantizeLinear", [values, scales], single, attributes, module=product.module
        )
