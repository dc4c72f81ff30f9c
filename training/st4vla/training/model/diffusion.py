"""Noise action chunks for training and sample them with DDIM; see `st4vla.contracts.ddim` for schedule and steps."""

from typing import Any

import torch
from torch import Tensor

from st4vla.contracts import ddim
from st4vla.contracts.ddim import DdimCoefficients


def squared_cosine_betas() -> Tensor:
    """Return beta [NUM_TRAIN_TIMESTEPS], float64, in (0, MAX_BETA]."""
    return torch.tensor(ddim.betas(), dtype=torch.float64)


def alphas_cumprod() -> Tensor:
    """Return alpha bar [NUM_TRAIN_TIMESTEPS], float64: the share of signal left in the variance at each timestep."""
    return torch.tensor(ddim.alphas_cumprod(), dtype=torch.float64)


def q_sample(x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Return x_start [B, T, A] noised to timesteps t [B]: sqrt(ab) x_start + sqrt(1 - ab) noise."""
    alpha_bar = alphas_cumprod().to(x_start.device)[t][:, None, None]
    return alpha_bar.sqrt().to(x_start.dtype) * x_start + (1 - alpha_bar).sqrt().to(x_start.dtype) * noise


def diffusion_loss(  # noqa: PLR0917 - in the order of the golden numbers
    model: Any, actions: Tensor, t: Tensor, noise: Tensor, condition: Tensor, action_mask: Tensor | None = None
) -> Tensor:
    """Return the mean squared error of the predicted noise, a scalar.

    Args:
        model: A `DiffusionTransformer`, or anything that maps (x, t, condition) to the noise.
        actions: Clean chunks [B, T, A], normalised to [-1, 1].
        t: Timesteps [B], drawn uniformly from 0 to NUM_TRAIN_TIMESTEPS - 1.
        noise: Standard normal, [B, T, A].
        condition: Condition tokens [B, Q, D].
        action_mask: bool [B, T], False past the end of an episode, where there is nothing to learn; None counts all.
    """
    errors = diffusion_errors(model, actions, t, noise, condition)
    if action_mask is None:
        return errors.mean()
    # A batch of padding alone has no error, not an undefined one.
    return (errors * action_mask).sum() / action_mask.sum().clamp(min=1)


def diffusion_errors(  # noqa: PLR0917 - as above
    model: Any, actions: Tensor, t: Tensor, noise: Tensor, condition: Tensor, prefix_mask: Tensor | None = None
) -> Tensor:
    """Return the squared error of the predicted noise, averaged over the dimensions of each action, [B, T].

    Args:
        model: As in `diffusion_loss`, as are the arguments that are not named here.
        actions: [B, T, A].
        t: [B].
        noise: [B, T, A].
        condition: [B, Q, D].
        prefix_mask: bool [B, T], True where the network is shown the clean action, as when the arm is committed to it
            already; what it predicts there means nothing.
    """
    noisy = q_sample(actions, t, noise)
    if prefix_mask is not None:
        noisy = torch.where(prefix_mask[..., None], actions, noisy)
    return (model(noisy, t, condition) - noise).square().mean(dim=-1)


def min_snr_weights(gamma: float) -> Tensor:
    """Return a weight for the error of the noise at each timestep, min(SNR, gamma) / SNR, float32 [timesteps].

    SNR is the signal's share of the power over the noise's. Above gamma the weights are those of an error of the clean
    chunk itself: errors of the noise hardly tell what a chunk of pure noise should become, which sampling begins with.
    (Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023.)

    Raises:
        ValueError: gamma is not positive.
    """
    if not gamma > 0:
        raise ValueError(f"a weight by signal-to-noise ratio needs a positive bound, not {gamma:g}")
    table = alphas_cumprod()
    ratio = table / (1 - table)
    return (ratio.clamp(max=gamma) / ratio).float()


def ddim_sample(  # noqa: PLR0917 - the order of the sampler's inputs in every room
    model: Any,
    condition: Tensor,
    noise: Tensor,
    num_steps: int = 10,
    guidance_scale: float = 1.5,
    prefix: Tensor | None = None,
    prefix_weights: Tensor | None = None,
    *,
    clean_prefix: bool = False,
) -> Tensor:
    """Return a chunk of actions [B, T, A], denoised from `noise`.

    With a prefix, every step pulls its estimate of the clean chunk towards the actions that the arm is already
    committed to (real-time chunking): d = w (prefix - x0), x0' = x0 + d, and eps' = eps - sqrt(ab / (1 - ab)) d, which
    keeps x0' and eps' consistent with the current sample. Zero weights leave the sampler as it is, bit for bit, and
    weights of one return the prefix itself.

    Args:
        model: A `DiffusionTransformer`: called as (x, t, condition), with a method `unconditional(batch_size)`.
        condition: Condition tokens [B, Q, D].
        noise: Standard normal, [B, T, A].
        num_steps: Number of steps; see `ddim_steps`.
        guidance_scale: Above 1, the noise is u + guidance_scale (c - u) from a batch twice the size, of conditional c
            and unconditional u; otherwise c alone.
        prefix: Actions [B, T, A] to hold to, normalised and finite, even where their weight is zero.
        prefix_weights: How firmly to hold each action, [B, T] in [0, 1].
        clean_prefix: Show the network actions whose weight is one as they are, without noise: right for one that was
            trained so (see `diffusion_errors`), and for no other.

    Raises:
        ValueError: `num_steps` is not available, or only one of prefix and prefix_weights is given.
    """
    if (prefix is None) != (prefix_weights is None):
        raise ValueError("prefix and prefix_weights go together; pass both or neither")
    batch_size = noise.shape[0]
    if guidance_scale > 1:
        condition = torch.cat([condition, model.unconditional(batch_size).to(condition.dtype)])
    x = noise
    for step in ddim.ddim_steps(num_steps):
        t = torch.full((condition.shape[0],), step.timestep, dtype=torch.int64, device=x.device)
        x = ddim_step(
            model, condition, x, t, step.coefficients, guidance_scale, prefix, prefix_weights, clean_prefix=clean_prefix
        )
    return x


def ddim_step(  # noqa: PLR0917 - as above
    model: Any,
    condition: Tensor,
    x: Tensor,
    t: Tensor,
    coefficients: DdimCoefficients,
    guidance_scale: float,
    prefix: Tensor | None = None,
    prefix_weights: Tensor | None = None,
    *,
    clean_prefix: bool = False,
) -> Tensor:
    """Return the chunk [B, T, A] that a sampler goes on from after one step; see `ddim_sample`.

    Args:
        model: Called as (x, t, condition).
        condition: [B, Q, D]; with guidance [2 B, Q, D], the unconditional ones last.
        x: The chunk of this step, [B, T, A].
        t: Timestep of each condition.
        coefficients: Of this step; numbers, or scalar tensors.
        guidance_scale: As in `ddim_sample`, as are the arguments that follow.
        prefix: [B, T, A].
        prefix_weights: [B, T]; given if and only if `prefix` is.
        clean_prefix: Show the network committed actions without noise.
    """
    if clean_prefix and prefix is not None and prefix_weights is not None:
        x = torch.where(prefix_weights[..., None] >= 1, prefix.to(x.dtype), x)
    if guidance_scale > 1:
        conditional, unconditional = model(torch.cat([x, x]), t, condition).chunk(2)
        eps = unconditional + guidance_scale * (conditional - unconditional)
    else:
        eps = model(x, t, condition)
    x0 = coefficients.signal * x - coefficients.noise * eps
    if prefix is not None and prefix_weights is not None:
        weights = prefix_weights.to(x0.dtype)[..., None]
        eps = eps - coefficients.pull * (weights * (prefix - x0))
        # lerp and not x0 + w (prefix - x0): it is exact at both ends.
        x0 = torch.lerp(x0, prefix.to(x0.dtype), weights)
    return coefficients.next_signal * x0 + coefficients.next_noise * eps
