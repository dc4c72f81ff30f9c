from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from st4vla.export.onnx_export import save_graph
from st4vla.export.quantization.cpu_form import adds_signed_products
from st4vla.export.quantization.cpu_graph import rewrite_for_cpu


@pytest.mark.parametrize(
    ("graph", "fused"),
    [
        ("planner", {"MultiHeadAttention": 4, "RotaryEmbedding": 8}),
        ("bridge", {"MultiHeadAttention": 4}),
        ("sampler", {"MultiHeadAttention": 2}),
    ],
)
def test_attention_and_rotary_embedding_are_fused_and_nothing_else_changes(  # noqa: PLR0917
    paths: dict[str, Path],
    golden: dict[str, Any],
    run: Callable[..., Any],
    tmp_path: Path,
    graph: str,
    fused: dict[str, int],
) -> None:
    model = ir.load(paths[graph])
    rewrite_for_cpu(model)
    assert Counter(node.op_type for node in model.graph if node.domain == "com.microsoft") == fused
    assert not [node for node in model.graph if node.op_type in {"Softmax", "Reciprocal"}]
    assert all(node.name for node in model.graph)
    save_graph(model, tmp_path / f"{graph}.onnx")
    feeds, wanted = golden[graph]
    for name, value in run(tmp_path / f"{graph}.onnx", feeds).items():
        np.testing.assert_allclose(value, wanted[name], rtol=0, atol=2e-5 * np.abs(wanted[name]).max())


@pytest.mark.parametrize(("flags", "signed"), [("avx2 fma", False), ("avx2 avx_vnni", True), ("avx512_vnni", True)])
def test_weights_are_signed_where_the_processor_adds_such_products_without_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, signed: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags\t\t: sse {flags}\n")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert adds_signed_products(cpuinfo) is signed
    assert not adds_signed_products(tmp_path / "missing")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert adds_signed_products(cpuinfo)
