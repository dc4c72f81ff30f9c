from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from st4vla.training.model.diffusion_transformer import DiffusionTransformer, sinusoidal_embedding

Golden = dict[str, Tensor]
RelativeError = Callable[[Tensor, Tensor], float]


@torch.no_grad()
def test_conditional_noise_is_that_of_the_reference(
    golden: Golden, diffusion_transformer: DiffusionTransformer, relative_error: RelativeError
) -> None:
    eps = diffusion_transformer(golden["in/dit_x"], golden["in/dit_t"], golden["in/dit_z"])
    assert relative_error(eps, golden["out/dit_eps_cond"]) < 1e-5


@torch.no_grad()
def test_unconditional_noise_is_that_of_the_reference(
    golden: Golden, diffusion_transformer: DiffusionTransformer, relative_error: RelativeError
) -> None:
    eps = diffusion_transformer(golden["in/dit_x"], golden["in/dit_t"], diffusion_transformer.unconditional(2))
    assert relative_error(eps, golden["out/dit_eps_uncond"]) < 1e-5


@torch.no_grad()
def test_guided_noise_is_that_of_the_reference(
    golden: Golden, diffusion_transformer: DiffusionTransformer, relative_error: RelativeError
) -> None:
    x, t = golden["in/dit_x"], golden["in/dit_t"]
    conditional = diffusion_transformer(x, t, golden["in/dit_z"])
    unconditional = diffusion_transformer(x, t, diffusion_transformer.unconditional(2))
    guided = unconditional + 1.5 * (conditional - unconditional)
    for half in golden["out/dit_eps_cfg1.5"].chunk(2):
        assert relative_error(guided, half) < 1e-5


@torch.no_grad()
def test_timestep_embeddings_are_those_of_the_reference(
    golden: Golden, diffusion_transformer: DiffusionTransformer, relative_error: RelativeError
) -> None:
    t = golden["in/dit_t"]
    assert relative_error(sinusoidal_embedding(t), golden["out/t_sinusoid256"]) < 1e-5
    assert relative_error(diffusion_transformer.t_embedder(t), golden["out/t_embedder"]) < 1e-5


def test_the_base_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = DiffusionTransformer(7, 16, 768, 12, 12, 64)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e6, 2) == 86.52


def test_a_fresh_network_predicts_zero_noise() -> None:
    model = DiffusionTransformer(7, 16, 32, 2, 4, 8).eval()
    assert not model(torch.randn(2, 16, 7), torch.tensor([3, 90]), torch.randn(2, 8, 32)).any()


@torch.no_grad()
def test_conditions_are_dropped_only_in_training(golden: Golden, diffusion_transformer: DiffusionTransformer) -> None:
    x, t, condition = golden["in/dit_x"], golden["in/dit_t"], golden["in/dit_z"]
    diffusion_transformer.z_embedder.dropout = 1.0
    without = diffusion_transformer(x, t, diffusion_transformer.unconditional(2))
    assert not torch.equal(diffusion_transformer(x, t, condition), without)
    assert torch.equal(diffusion_transformer.train()(x, t, condition), without)


def test_a_width_that_does_not_divide_into_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="width 32 does not divide into 5 heads"):
        DiffusionTransformer(7, 16, 32, 1, 5, 8)


@pytest.mark.parametrize(("dim", "heads"), [(64, 4), (128, 4), (768, 12)])
@torch.no_grad()
def test_a_head_can_begin_with_its_input_as_the_noise(dim: int, heads: int) -> None:
    torch.manual_seed(0)
    head = DiffusionTransformer(7, 16, dim, 2, heads, 8)
    head.begin_as_identity()
    head.eval()
    x, t = torch.randn(32, 16, 7), torch.randint(100, (32,))
    missed = (head(x, t, torch.randn(32, 8, dim)) - x).square().mean()
    # A layer norm stands in the way of less.
    assert missed < 1 / dim
