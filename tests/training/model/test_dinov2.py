import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import Dinov2Config, Dinov2Model

from st4vla.training.model.dinov2 import DinoEncoder, build_dino_encoder

OTHER_NAMES = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def randomized(encoder: DinoEncoder) -> DinoEncoder:
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return encoder.eval()


def hub_to_transformers(weights: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    renamed = {
        "embeddings.cls_token": weights["cls_token"],
        "embeddings.mask_token": weights["mask_token"],
        "embeddings.position_embeddings": weights["pos_embed"],
    }
    for kind in ("weight", "bias"):
        renamed[f"embeddings.patch_embeddings.projection.{kind}"] = weights[f"patch_embed.proj.{kind}"]
        renamed[f"layernorm.{kind}"] = weights[f"norm.{kind}"]
    for i in range(depth):
        ours, theirs = f"blocks.{i}", f"encoder.layer.{i}"
        for index in ("1", "2"):
            renamed[f"{theirs}.layer_scale{index}.lambda1"] = weights[f"{ours}.ls{index}.gamma"]
        for kind in ("weight", "bias"):
            for name, other in OTHER_NAMES.items():
                renamed[f"{theirs}.{other}.{kind}"] = weights[f"{ours}.{name}.{kind}"]
            for name, part in zip(("query", "key", "value"), weights[f"{ours}.attn.qkv.{kind}"].chunk(3), strict=True):
                renamed[f"{theirs}.attention.attention.{name}.{kind}"] = part
    return renamed


@torch.no_grad()
def test_patch_tokens_are_those_of_transformers_on_the_learned_grid() -> None:
    encoder = randomized(DinoEncoder(24, 2, 3, patch_size=14, position_grid=4))
    config = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=56, patch_size=14)
    other = Dinov2Model(config).eval()
    other.load_state_dict(hub_to_transformers(encoder.state_dict(), 2), strict=True)
    images = torch.randn(2, 3, 56, 56)
    expected = other(images).last_hidden_state[:, 1:]
    assert (encoder(images) - expected).abs().max() / expected.abs().max() < 1e-5


@torch.no_grad()
def test_the_position_embedding_is_interpolated_with_the_offset_in_its_scale() -> None:
    encoder = randomized(DinoEncoder(8, 1, 2))
    position = encoder.position_embedding(16, 16)
    grid = encoder.pos_embed[:, 1:].reshape(1, 37, 37, 8).permute(0, 3, 1, 2)
    expected = functional.interpolate(grid, scale_factor=(16 + 0.1) / 37, mode="bicubic")
    by_size = functional.interpolate(grid, size=(16, 16), mode="bicubic")
    assert position.shape == (1, 257, 8)
    assert torch.equal(position[:, :1], encoder.pos_embed[:, :1])
    assert torch.equal(position[:, 1:], expected.flatten(2).transpose(1, 2))
    assert not torch.allclose(position[:, 1:], by_size.flatten(2).transpose(1, 2), atol=1e-3)


@torch.no_grad()
def test_an_image_may_have_any_whole_number_of_patches() -> None:
    encoder = randomized(DinoEncoder(8, 1, 2))
    assert encoder.position_embedding(37, 37) is encoder.pos_embed
    assert encoder(torch.randn(1, 3, 28, 70)).shape == (1, 10, 8)


def test_an_image_that_does_not_divide_into_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="225 by 224 pixels do not divide into patches of 14"):
        DinoEncoder(8, 1, 2)(torch.zeros(1, 3, 225, 224))


def test_the_large_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        encoder = build_dino_encoder("dinov2_vitl14")
    assert encoder.pos_embed.shape == (1, 1370, 1024)
    assert round(sum(parameter.numel() for parameter in encoder.parameters()) / 1e6, 1) == 304.4


def test_an_unknown_size_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="choose one of dinov2_vits14, dinov2_vitb14, dinov2_vitl14"):
        build_dino_encoder("dinov2_vitg14")
