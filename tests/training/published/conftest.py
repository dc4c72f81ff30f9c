"""Synthetic published runs: every published name at small widths, written from the facts and not from our modules."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from st4vla.training.published.sizes import HeadCounts
from st4vla.training.tokenizer import train_tokenizer

QWEN = "qwen_vl_interface.model."
PROMPT = (
    "Your task is {instruction}. To identify the key objects for your task. "
    "Locate their bounding boxes in [x1,y1,x2,y2] format."
)
CONFIG = f"""
run_id: libero_spatial_chunk_16
seed: 42
framework:
  framework_py: DinoQFormerACT
  qwenvl: {{base_vlm: /mnt/cluster/Qwen2.5-VL-3B-Instruct, attn_implementation: flash_attention_2}}
  layer_qformer: {{qformer_start_layer: 36, qformer_end_layer: 37, num_query_tokens: 64, grad_scale: 0.5}}
  action_model: {{action_model_type: DiT-B, action_dim: 7, future_action_window_size: 7, past_action_window_size: 0}}
datasets:
  vla_data:
    data_mix: libero_spatial
    CoT_prompt: "{PROMPT}"
trainer: {{max_train_steps: 30000, learning_rate: {{base: 2.5e-05}}}}
"""

Shapes = dict[str, tuple[int, ...]]


class Widths(NamedTuple):
    """Sizes of a synthetic checkpoint; the defaults are small, and as deep as the published ones."""

    dim: int = 64
    key_rows: int = 32
    mlp: int = 96
    vocabulary: int = 512
    layers: int = 36
    vision: int = 32
    vision_mlp: int = 48
    vision_blocks: int = 32
    encoder: int = 32
    encoder_blocks: int = 24
    bridge: int = 32
    queries: int = 8
    head_blocks: int = 12
    horizon: int = 8
    action_dim: int = 7


PUBLISHED = Widths(2048, 256, 11_008, 151_936, 36, 1280, 3420, 32, 1024, 24, 768, 64, 12, 16, 7)
HEADS = HeadCounts(planner=4, mrope_section=(2, 3, 3), vision=2, encoder=2, head=4, bridge=8)


def linear(name: str, rows: int, columns: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (rows, columns)} | ({f"{name}.bias": (rows,)} if bias else {})


def norm(name: str, width: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (width,)} | ({f"{name}.bias": (width,)} if bias else {})


def published_shapes(w: Widths, *, old_names: bool = False) -> Shapes:
    """Return the shapes of a published checkpoint with one bridge layer, by name, in either of Qwen2.5-VL's namings."""
    visual, language = (f"{QWEN}visual.", f"{QWEN}model.") if old_names else (
        f"{QWEN}model.visual.", f"{QWEN}model.language_model."
    )  # fmt: skip
    d, v, e, b = w.dim, w.vision, w.encoder, w.bridge
    shapes: Shapes = {f"{visual}patch_embed.proj.weight": (v, 3, 2, 14, 14)}
    for block in (f"{visual}blocks.{i}." for i in range(w.vision_blocks)):
        shapes |= norm(f"{block}norm1", v, bias=False) | norm(f"{block}norm2", v, bias=False)
        shapes |= linear(f"{block}attn.qkv", 3 * v, v) | linear(f"{block}attn.proj", v, v)
        shapes |= linear(f"{block}mlp.gate_proj", w.vision_mlp, v) | linear(f"{block}mlp.up_proj", w.vision_mlp, v)
        shapes |= linear(f"{block}mlp.down_proj", v, w.vision_mlp)
    shapes |= norm(f"{visual}merger.ln_q", v, bias=False)
    shapes |= linear(f"{visual}merger.mlp.0", 4 * v, 4 * v) | linear(f"{visual}merger.mlp.2", d, 4 * v)
    shapes[f"{language}embed_tokens.weight"] = (w.vocabulary, d)
    for layer in (f"{language}layers.{i}." for i in range(w.layers)):
        shapes |= linear(f"{layer}self_attn.q_proj", d, d)
        shapes |= linear(f"{layer}self_attn.k_proj", w.key_rows, d) | linear(f"{layer}self_attn.v_proj", w.key_rows, d)
        shapes |= linear(f"{layer}self_attn.o_proj", d, d, bias=False)
        shapes |= linear(f"{layer}mlp.gate_proj", w.mlp, d, bias=False)
        shapes |= linear(f"{layer}mlp.up_proj", w.mlp, d, bias=False)
        shapes |= linear(f"{layer}mlp.down_proj", d, w.mlp, bias=False)
        shapes |= norm(f"{layer}input_layernorm", d, bias=False)
        shapes |= norm(f"{layer}post_attention_layernorm", d, bias=False)
    shapes |= norm(f"{language}norm", d, bias=False)
    shapes[f"{QWEN}lm_head.weight"] = (w.vocabulary, d)
    shapes |= {"layer_qformer.query_tokens": (w.queries, b)} | linear("layer_qformer.proj", b, d)
    block = "layer_qformer.layers.0."
    shapes |= norm(f"{block}norm1", b) | norm(f"{block}norm2", b)
    shapes |= {f"{block}cross_attn.in_proj_weight": (3 * b, b), f"{block}cross_attn.in_proj_bias": (3 * b,)}
    shapes |= linear(f"{block}cross_attn.out_proj", b, b)
    shapes |= linear(f"{block}mlp.0", 4 * b, b) | linear(f"{block}mlp.2", b, 4 * b)
    net = "action_model.net."
    shapes[f"{net}positional_embedding"] = (w.queries + w.horizon, b)
    shapes |= linear(f"{net}history_embedder.linear", b, w.action_dim)
    shapes |= linear(f"{net}x_embedder.linear", b, w.action_dim)
    shapes |= linear(f"{net}t_embedder.mlp.0", b, 256) | linear(f"{net}t_embedder.mlp.2", b, b)
    shapes |= {f"{net}z_embedder.uncondition": (w.queries, b)} | linear(f"{net}z_embedder.linear", b, b)
    for block in (f"{net}blocks.{i}." for i in range(w.head_blocks)):
        shapes |= linear(f"{block}attn.qkv", 3 * b, b) | linear(f"{block}attn.proj", b, b)
        shapes |= linear(f"{block}mlp.fc1", 4 * b, b) | linear(f"{block}mlp.fc2", b, 4 * b)
    shapes |= linear(f"{net}final_layer.linear", w.action_dim, b)
    body = "dino_encoder.body."
    shapes |= {f"{body}cls_token": (1, 1, e), f"{body}pos_embed": (1, 1370, e), f"{body}mask_token": (1, e)}
    shapes |= {f"{body}patch_embed.proj.weight": (e, 3, 14, 14), f"{body}patch_embed.proj.bias": (e,)}
    for block in (f"{body}blocks.{i}." for i in range(w.encoder_blocks)):
        shapes |= norm(f"{block}norm1", e) | norm(f"{block}norm2", e)
        shapes |= linear(f"{block}attn.qkv", 3 * e, e) | linear(f"{block}attn.proj", e, e)
        shapes |= linear(f"{block}mlp.fc1", 4 * e, e) | linear(f"{block}mlp.fc2", e, 4 * e)
        shapes |= {f"{block}ls1.gamma": (e,), f"{block}ls2.gamma": (e,)}
    return shapes | norm(f"{body}norm", e) | linear("dino_pro", d, e)


def random_weights(shapes: Shapes) -> dict[str, Tensor]:
    """Return bfloat16 weights; the language head is a copy of the embedding, as `torch.save` of a gathered one is."""
    generator = torch.Generator().manual_seed(0)
    weights = {name: (torch.randn(shape, generator=generator) * 0.1).bfloat16() for name, shape in shapes.items()}
    embedding = next(value for name, value in weights.items() if name.endswith("embed_tokens.weight"))
    return weights | {f"{QWEN}lm_head.weight": embedding.clone()}


def statistics(mask: list[bool], dim: int = 7) -> dict[str, object]:
    action: dict[str, object] = {
        field: [float(index + 1) * scale for index in range(dim)]
        for field, scale in {"q01": -1.0, "q99": 1.0, "min": -2.0, "max": 2.0, "mean": 0.0, "std": 0.5}.items()
    }
    return {"action": action | {"mask": mask}, "state": {"mean": [0.0]}, "num_transitions": 9, "num_trajectories": 1}


def write_weights(folder: Path, weights: Mapping[str, Tensor], form: str) -> Path:
    """Write weights as `pt`, `safetensors` or `sharded` and return what to load."""
    folder.mkdir(parents=True, exist_ok=True)
    if form == "pt":
        path = folder / "steps_30000_pytorch_model.pt"
        torch.save(dict(weights), path)
        return path
    if form == "safetensors":
        path = folder / "steps_30000_pytorch_model.safetensors"
        save_file(dict(weights), path)
        return path
    table: dict[str, str] = {}
    for number in range(3):
        shard = {name: weights[name] for name in list(weights)[number::3]}
        save_file(shard, folder / f"model-{number}.safetensors")
        table |= dict.fromkeys(shard, f"model-{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    return folder


class Run(NamedTuple):
    """A published run's folder, and what lies in it."""

    folder: Path
    tokenizer: Path
    weights: dict[str, Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shapes_of() -> Callable[..., Shapes]:
    return published_shapes


@pytest.fixture(scope="session")
def widths() -> Widths:
    return Widths()


@pytest.fixture(scope="session")
def published_widths() -> Widths:
    return PUBLISHED


@pytest.fixture(scope="session")
def heads() -> HeadCounts:
    return HEADS


@pytest.fixture(scope="session")
def write() -> Callable[[Path, Mapping[str, Tensor], str], Path]:
    return write_weights


@pytest.fixture(scope="session")
def stats() -> Callable[..., dict[str, object]]:
    return statistics


@pytest.fixture(scope="session")
def config_text() -> str:
    return CONFIG


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run's folder with small weights as .pt; tests may not change it."""
    folder = tmp_path_factory.mktemp("published")
    weights = random_weights(published_shapes(Widths()))
    write_weights(folder / "checkpoints", weights, "pt")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "dataset_statistics.json").write_text(json.dumps({"franka": statistics([True] * 6 + [False])}))
    tokenizer = folder / "tokenizer.json"
    train_tokenizer().save(str(tokenizer))
    return Run(folder, tokenizer, weights)
