"""Tests that graphs of every precision compile with the real compiler, for the GPU next to a Jetson Orin's."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from st4vla.contracts.manifests import GRAPH_NAMES
from st4vla.contracts.tensor_spec import GraphTensors, SizeRange
from st4vla.export.bundle import graph_spec, head_ids_of
from st4vla.export.onnx_export import WEIGHTS_SUFFIX, export_graphs
from st4vla.export.quantization.blocks import block_names, find_products
from st4vla.export.quantization.lowering import lower_graph
from st4vla.export.quantization.recipe import get_form
from st4vla.export.quantization.scaling import Scaling
from st4vla.runtime.engines.tensorrt_build import build_engine
from st4vla.training.checkpoint import init_checkpoint

library = pytest.importorskip("tensorrt_rtx")
ORIN_RELATIVE = "SM86"
TINY = Path(__file__).parents[3] / "bundles" / "tiny"
SIZES = {"L": SizeRange(160, 201, 256)}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    checkpoint = init_checkpoint("small", 0)
    folder = tmp_path_factory.mktemp("small")
    return export_graphs(checkpoint.policy, head_ids_of(checkpoint), len(checkpoint.manifest.views), folder)


@pytest.fixture
def graphs(request: pytest.FixtureRequest) -> dict[str, Path]:
    if request.param == "tiny":
        return {name: TINY / f"{name}.onnx" for name in GRAPH_NAMES}
    exported: dict[str, Path] = request.getfixturevalue("small")
    return exported


@pytest.mark.parametrize("rung", ["half", "int8", "int4"])
@pytest.mark.parametrize("name", GRAPH_NAMES)
@pytest.mark.parametrize("graphs", ["tiny", "small"], indirect=True)
def test_a_graph_of_every_precision_compiles_for_an_orins_relative(
    graphs: dict[str, Path], name: str, rung: str, tmp_path: Path
) -> None:
    lowered = lower(graphs[name], rung, tmp_path)
    spec = graph_spec(lowered)
    tensors = GraphTensors(name, spec.inputs, spec.outputs, SIZES if name != "sampler" else {})
    assert build_engine(library, lowered, tensors, compute_capability=ORIN_RELATIVE).nbytes > 0


def test_the_planner_in_int4_is_at_most_thirty_percent_of_float16(small: dict[str, Path], tmp_path: Path) -> None:
    sizes = {}
    for rung in ("half", "int4"):
        (tmp_path / rung).mkdir()
        lowered = lower(small["planner"], rung, tmp_path / rung)
        sizes[rung] = lowered.stat().st_size + lowered.with_name(lowered.name + WEIGHTS_SUFFIX).stat().st_size
    assert sizes["int4"] <= 0.3 * sizes["half"]


def lower(source: Path, rung: str, folder: Path) -> Path:
    """Return a graph all of whose blocks are at a rung; ranges of activations are made up."""
    graph, form = ir.load(source).graph, get_form("tensorrt")
    widths = {product.module: int(product.weight.shape[0]) for product in find_products(graph)}
    scalings = {module: Scaling(np.ones(width, np.float32), 0.05) for module, width in widths.items()}
    recipe = form.recipe(dict.fromkeys(block_names(graph), rung), [])
    lower_graph(source, folder / source.name, recipe, scalings)
    return folder / source.name
