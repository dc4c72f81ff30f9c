"""Tests of inferring sizes from shapes; the published sizes are shapes only, without memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from st4vla.contracts.errors import ManifestError
from st4vla.training.empty_policy import build_empty_policy, find_misfits
from st4vla.training.presets import get_preset
from st4vla.training.published.names import map_names
from st4vla.training.published.sizes import HeadCounts, infer_sizes

Shapes = dict[str, tuple[int, ...]]
ShapesOf = Callable[..., Shapes]
NET, BRIDGE, BODY = "action_model.net.", "layer_qformer.", "dino_encoder.body."


@pytest.fixture
def full(shapes_of: ShapesOf, published_widths: Any) -> Shapes:
    return shapes_of(published_widths)


def count(shapes: Shapes, prefix: str) -> int:
    names = (name for name in map_names(shapes) if name.startswith(prefix))
    return sum(torch.empty(shapes[name], device="meta").numel() for name in names)


def test_the_published_sizes_are_those_of_the_base_preset(full: Shapes) -> None:
    base = get_preset("base")
    sizes = infer_sizes({name: full[name] for name in map_names(full)}, 36, 37)
    assert sizes.model == base.model
    assert (sizes.action_dim, sizes.horizon) == (base.action.dim, base.action.horizon)


def test_the_published_shapes_have_the_published_number_of_parameters_and_fit_the_policy(full: Shapes) -> None:
    assert sum(name.startswith("qwen_vl_interface.") for name in full) == 825
    assert count(full, "qwen_vl_interface.") == 3_754_622_976
    assert count(full, BRIDGE) == 8_710_656
    assert count(full, NET) == 86_524_423
    assert count(full, BODY) == 304_368_640
    sizes = infer_sizes(full, 36, 37)
    policy = build_empty_policy(sizes.model, sizes.action_dim, sizes.horizon, get_preset("base").sampler)
    stored = {name: torch.empty(full[name], dtype=torch.bfloat16, device="meta") for name in map_names(full)}
    assert find_misfits(policy, stored) is None


@pytest.mark.parametrize(("horizon", "action_dim"), [(8, 7), (16, 8)])
def test_chunk_and_action_come_from_the_head(
    shapes_of: ShapesOf, published_widths: Any, horizon: int, action_dim: int
) -> None:
    shapes = shapes_of(published_widths._replace(horizon=horizon, action_dim=action_dim))
    assert infer_sizes(shapes, 36, 37)[1:] == (action_dim, horizon)


@pytest.mark.parametrize(("width", "depth", "num_heads"), [(384, 12, 6), (768, 12, 12)])
def test_smaller_encoders_have_their_heads(
    shapes_of: ShapesOf, published_widths: Any, width: int, depth: int, num_heads: int
) -> None:
    model = infer_sizes(shapes_of(published_widths._replace(encoder=width, encoder_blocks=depth)), 36, 37).model
    assert (model.encoder.depth, model.encoder.num_heads) == (depth, num_heads)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bridge": 512}, r"diffusion transformer is 512 wide; published are 384, 768, 1024"),
        ({"encoder": 1536}, r"DINOv2 is 1536 wide; published are 384, 768, 1024"),
        ({"vision": 640 + 40}, r"vision tower is 680 wide, which is no multiple of 80"),
        ({"dim": 2000}, r"language model is 2000 wide, which is no multiple of 128"),
        ({"head_blocks": 11}, r"has 11 blocks; the published one has 12"),
        ({"encoder_blocks": 23}, r"has 23 blocks; the published one has 24"),
        ({"vision_blocks": 31}, r"vision tower has 31 blocks; published ones have 32"),
        ({"layers": 35}, r"a language model of 35 layers has 0 to 35"),
        ({"horizon": 0}, r"64 rows for 64 queries"),
    ],
)
def test_sizes_that_are_not_published_are_refused(
    shapes_of: ShapesOf, published_widths: Any, change: dict[str, int], problem: str
) -> None:
    with pytest.raises(ManifestError, match=problem):
        infer_sizes(shapes_of(published_widths._replace(**change)), 36, 37)


def test_hidden_states_must_be_as_many_as_bridge_layers(full: Shapes) -> None:
    with pytest.raises(ManifestError, match="are 17, but the bridge has 1 layers; correct qformer_start_layer"):
        infer_sizes(full, 20, 37)
    more = full | {name.replace("layers.0", "layers.1"): s for name, s in full.items() if name.startswith(BRIDGE)}
    assert infer_sizes(more, 35, 37).model.bridge.num_layers == 2


def test_other_heads_can_be_passed(full: Shapes) -> None:
    heads = HeadCounts(planner=32, mrope_section=(8, 12, 12), vision=20, encoder=8, head=6, bridge=4)
    model = infer_sizes(full, 36, 37, heads=heads).model
    assert (model.planner.num_heads, model.planner.num_kv_heads, model.planner.vision.num_heads) == (32, 4, 20)
    assert (model.encoder.num_heads, model.head.num_heads, model.bridge.num_heads) == (8, 6, 4)


def test_all_missing_sources_are_named_at_once(full: Shapes) -> None:
    del full[f"{NET}positional_embedding"], full[f"{BODY}pos_embed"]
    with pytest.raises(ManifestError, match=rf"{BODY}pos_embed, {NET}positional_embedding; the checkpoint is incompl"):
        infer_sizes(full, 36, 37)
    language_alone = {name: shape for name, shape in full.items() if name.startswith("qwen")}
    with pytest.raises(ManifestError, match="stage 1 holds the language model alone"):
        infer_sizes(language_alone, 36, 37)


def test_a_tensor_of_another_number_of_dimensions_is_named(full: Shapes) -> None:
    full[f"{BRIDGE}query_tokens"] = (1, 64, 768)
    with pytest.raises(ManifestError, match=r"query_tokens \[1, 64, 768\]"):
        infer_sizes(full, 36, 37)
