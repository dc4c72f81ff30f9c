from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from st4vla.training.model.diffusion import (
    alphas_cumprod,
    ddim_sample,
    diffusion_errors,
    diffusion_loss,
    min_snr_weights,
    q_sample,
)
from st4vla.training.model.diffusion_transformer import DiffusionTransformer
from st4vla.training.model.querying_transformer import QueryingTransformer

Golden = dict[str, Tensor]
RelativeError = Callable[[Tensor, Tensor], float]


@pytest.mark.parametrize("num_steps", [5, 10])
@pytest.mark.parametrize("guidance", [(1.0, "nocfg"), (1.5, "cfg1.5")])
@torch.no_grad()
def test_samples_are_those_of_the_reference(
    golden: Golden,
    diffusion_transformer: DiffusionTransformer,
    relative_error: RelativeError,
    num_steps: int,
    guidance: tuple[float, str],
) -> None:
    guidance_scale, name = guidance
    sample = ddim_sample(
        diffusion_transformer, golden["in/dit_z"], golden["in/ddim_noise"], num_steps, guidance_scale=guidance_scale
    )
    assert relative_error(sample, golden[f"out/ddim{num_steps}_{name}"]) < 1e-5


def test_noised_actions_are_those_of_the_reference(golden: Golden, relative_error: RelativeError) -> None:
    x_t = q_sample(golden["in/train_actions"], golden["in/train_t"], golden["in/train_noise"])
    assert x_t.dtype == torch.float32
    assert relative_error(x_t, golden["out/train_x_t"]) < 1e-5


def test_loss_and_gradients_are_those_of_the_reference(
    golden: Golden,
    querying_transformer: QueryingTransformer,
    diffusion_transformer: DiffusionTransformer,
    relative_error: RelativeError,
) -> None:
    condition = querying_transformer([golden["in/qformer_hidden_0"], golden["in/qformer_hidden_1"]])
    actions, t, noise = golden["in/train_actions"], golden["in/train_t"], golden["in/train_noise"]
    loss = diffusion_loss(diffusion_transformer, actions, t, noise, condition)
    assert relative_error(loss.detach(), golden["out/train_loss"]) < 1e-5
    prediction = diffusion_transformer(q_sample(actions, t, noise), t, condition)
    assert relative_error(prediction.detach(), golden["out/train_pred"]) < 1e-5

    loss.backward()
    modules = {"grad/layer_qformer.": querying_transformer, "grad/action_model.net.": diffusion_transformer}
    gradients = {
        prefix + name: parameter.grad
        for prefix, module in modules.items()
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }
    assert gradients.keys() == {name for name in golden if name.startswith("grad/")}
    errors = {name: relative_error(gradient, golden[name]) for name, gradient in gradients.items()}
    assert {name: error for name, error in errors.items() if error >= 1e-5} == {}


@pytest.mark.parametrize("guidance_scale", [1.0, 1.5])
@torch.no_grad()
def test_a_prefix_of_zero_weight_changes_no_bit(
    golden: Golden, diffusion_transformer: DiffusionTransformer, guidance_scale: float
) -> None:
    condition, noise = golden["in/dit_z"], golden["in/ddim_noise"]
    plain = ddim_sample(diffusion_transformer, condition, noise, 10, guidance_scale)
    prefixed = ddim_sample(
        diffusion_transformer, condition, noise, 10, guidance_scale, golden["in/train_actions"], torch.zeros(2, 16)
    )
    assert torch.equal(prefixed, plain)


@torch.no_grad()
def test_a_prefix_of_full_weight_is_returned_exactly(
    golden: Golden, diffusion_transformer: DiffusionTransformer
) -> None:
    prefix = golden["in/train_actions"]
    sample = ddim_sample(
        diffusion_transformer,
        golden["in/dit_z"],
        golden["in/ddim_noise"],
        prefix=prefix,
        prefix_weights=torch.ones(2, 16),
    )
    assert torch.equal(sample, prefix)


@torch.no_grad()
def test_a_held_prefix_moves_the_free_actions_too(golden: Golden, diffusion_transformer: DiffusionTransformer) -> None:
    condition, noise, prefix = golden["in/dit_z"], golden["in/ddim_noise"], golden["in/train_actions"]
    weights = torch.zeros(2, 16)
    weights[:, :4] = 1.0
    sample = ddim_sample(diffusion_transformer, condition, noise, prefix=prefix, prefix_weights=weights)
    plain = ddim_sample(diffusion_transformer, condition, noise)
    assert torch.equal(sample[:, :4], prefix[:, :4])
    assert not torch.equal(sample[:, 4:], plain[:, 4:])


@torch.no_grad()
def test_a_half_weight_keeps_the_estimate_and_the_noise_consistent(
    golden: Golden, relative_error: RelativeError
) -> None:
    class ZeroNoise:
        def __call__(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
            return torch.zeros_like(x)

    noise, prefix = golden["in/ddim_noise"], golden["in/train_actions"]
    sample = ddim_sample(ZeroNoise(), golden["in/dit_z"], noise, 1, 1.0, prefix, torch.full((2, 16), 0.5))
    plain = noise / alphas_cumprod()[50].sqrt().float()
    assert relative_error(sample, (plain + prefix) / 2) < 1e-6


class Recorder(torch.nn.Module):
    """Keeps what it is shown and predicts no noise."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        self.shown.append(x.clone())
        return torch.zeros_like(x)


def test_a_clean_prefix_is_shown_without_noise_at_every_step_and_returned(golden: Golden) -> None:
    noise, prefix = golden["in/ddim_noise"], golden["in/train_actions"]
    weights = torch.zeros(2, 16)
    weights[:, :3], weights[:, 3:6] = 1.0, 0.5
    model = Recorder()
    sample = ddim_sample(model, golden["in/dit_z"], noise, 5, 1.0, prefix, weights, clean_prefix=True)
    assert len(model.shown) == 5
    assert all(torch.equal(shown[:, :3], prefix[:, :3]) for shown in model.shown)
    assert all(not torch.equal(shown[:, 3:6], prefix[:, 3:6]) for shown in model.shown)
    assert torch.equal(sample[:, :3], prefix[:, :3])


def test_a_clean_prefix_of_zero_weight_changes_no_bit(
    golden: Golden, diffusion_transformer: DiffusionTransformer
) -> None:
    condition, noise, prefix = golden["in/dit_z"], golden["in/ddim_noise"], golden["in/train_actions"]
    plain = ddim_sample(diffusion_transformer, condition, noise)
    shown = ddim_sample(
        diffusion_transformer, condition, noise, prefix=prefix, prefix_weights=torch.zeros(2, 16), clean_prefix=True
    )
    assert torch.equal(shown, plain)


def test_training_shows_the_prefix_clean_and_the_rest_noised(golden: Golden) -> None:
    actions, noise = golden["in/train_actions"], golden["in/ddim_noise"]
    t = torch.tensor([10, 90])
    prefix = torch.arange(16) < torch.tensor([[2], [0]])
    model = Recorder()
    errors = diffusion_errors(model, actions, t, noise, golden["in/dit_z"], prefix)
    noised = q_sample(actions, t, noise)
    (shown,) = model.shown
    assert torch.equal(shown[0, :2], actions[0, :2])
    assert torch.equal(shown[0, 2:], noised[0, 2:])
    assert torch.equal(shown[1], noised[1])
    assert torch.allclose(errors, noise.square().mean(-1))


def test_a_prefix_without_weights_is_refused(golden: Golden, diffusion_transformer: DiffusionTransformer) -> None:
    with pytest.raises(ValueError, match="go together"):
        ddim_sample(diffusion_transformer, golden["in/dit_z"], golden["in/ddim_noise"], prefix=golden["in/dit_x"])


@torch.no_grad()
def test_steps_past_an_episode_s_end_have_no_loss(
    golden: Golden, diffusion_transformer: DiffusionTransformer, relative_error: RelativeError
) -> None:
    actions, t, noise = golden["in/train_actions"], golden["in/train_t"], golden["in/train_noise"]
    condition = torch.randn(len(actions), 8, 32)
    mask = torch.ones(actions.shape[:2], dtype=torch.bool)
    whole = diffusion_loss(diffusion_transformer, actions, t, noise, condition, mask)
    assert relative_error(whole, diffusion_loss(diffusion_transformer, actions, t, noise, condition)) < 1e-6
    mask[:, 10:] = False
    loss = diffusion_loss(diffusion_transformer, actions, t, noise, condition, mask)
    prediction = diffusion_transformer(q_sample(actions, t, noise), t, condition)
    assert relative_error(loss, (prediction - noise)[:, :10].square().mean()) < 1e-6
    nothing = diffusion_loss(diffusion_transformer, actions, t, noise, condition, torch.zeros_like(mask))
    assert float(nothing) == 0


def test_weights_make_errors_of_the_noise_those_of_the_clean_chunk_up_to_a_bound() -> None:
    weights, table = min_snr_weights(0.1), alphas_cumprod()
    noisy = table / (1 - table) <= 0.1
    assert noisy.any()
    assert not noisy.all()
    assert (weights[noisy] == 1).all()
    # An error e of the noise is one of sqrt((1 - ab) / ab) e in the clean chunk.
    clean = ((1 - table) / table)[~noisy]
    torch.testing.assert_close(weights[~noisy].double(), 0.1 * clean, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match="positive"):
        min_snr_weights(-1)
