"""Noise action chunks for training and sample them with DDIM.

The schedule is the squared cosine of Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021),
over 100 timesteps; the sampler is that of Song et al., "Denoising Diffusion Implicit Models" (2021), with eta 0.
"""

import math
import operator
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

NUM_TRAIN_TIMESTEPS = 100
MAX_BETA = 0.999
COSINE_OFFSET = 0.008


@cache
def _betas(num_timesteps: int) -> tuple[float, ...]:
    # Plain floats, not a tensor's: an exporter that traces the sampler would take those for unknowns.
    def alpha_bar(fraction: float) -> float:
        return math.cos((fraction + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2

    return tuple(
        min(1 - alpha_bar((i + 1) / num_timesteps) / alpha_bar(i / num_timesteps), MAX_BETA)
        for i in range(num_timesteps)
    )


@cache
def _alphas_cumprod(num_timesteps: int) -> tuple[float, ...]:
    return tuple(accumulate((1.0 - beta for beta in _betas(num_timesteps)), operator.mul))


def squared_cosine_betas(num_timesteps: int = NUM_TRAIN_TIMESTEPS) -> Tensor:
    """Return beta [num_timesteps], float64, in (0, MAX_BETA]."""
    return torch.tensor(_betas(num_timesteps), dtype=torch.float64)


def alphas_cumprod(num_timesteps: int = NUM_TRAIN_TIMESTEPS) -> Tensor:
    """Return alpha bar [num_timesteps], float64: the share of signal left in the variance at each timestep."""
    return torch.tensor(_alphas_cumprod(num_timesteps), dtype=torch.float64)


@cache
def _subsets(num_timesteps: int) -> dict[int, tuple[int, ...]]:
    subsets: dict[int, tuple[int, ...]] = {}
    for stride in range(1, num_timesteps):
        steps = tuple(range(0, num_timesteps, stride))
        subsets.setdefault(len(steps), steps)
    return subsets | {1: (num_timesteps // 2,)}


def sampling_timesteps(num_steps: int, num_timesteps: int = NUM_TRAIN_TIMESTEPS) -> tuple[int, ...]:
    """Return the timesteps that a sampler of `num_steps` visits, ascending.

    They start at 0 and are spaced by the smallest whole stride that gives exactly `num_steps` of them, which not every
    number has. A single step takes the middle timestep.

    Raises:
        ValueError: No whole stride gives that number of steps; the message lists those that have one.
    """
    subsets = _subsets(num_timesteps)
    if num_steps not in subsets:
        valid = ", ".join(str(count) for count in sorted(subsets))
        raise ValueError(f"no whole stride gives {num_steps} steps of {num_timesteps}; choose one of {valid}")
    return subsets[num_steps]


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
        num_steps: Number of steps; see `sampling_timesteps`.
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
    steps = sampling_timesteps(num_steps)
    table = _alphas_cumprod(NUM_TRAIN_TIMESTEPS)
    batch_size = noise.shape[0]
    guided = guidance_scale > 1
    if guided:
        condition = torch.cat([condition, model.unconditional(batch_size).to(condition.dtype)])
    x = noise
    for index in reversed(range(num_steps)):
        if clean_prefix and prefix is not None and prefix_weights is not None:
            x = torch.where(prefix_weights[..., None] >= 1, prefix.to(x.dtype), x)
        model_input = torch.cat([x, x]) if guided else x
        t = torch.full((model_input.shape[0],), steps[index], dtype=torch.int64, device=x.device)
        eps = model(model_input, t, condition)
        if guided:
            conditional, unconditional = eps.chunk(2)
            eps = unconditional + guidance_scale * (conditional - unconditional)
        alpha_bar = table[steps[index]]
        previous_alpha_bar = table[steps[index - 1]] if index else 1.0
        x0 = math.sqrt(1 / alpha_bar) * x - math.sqrt(1 / alpha_bar - 1) * eps
        if prefix is not None and prefix_weights is not None:
            x0, eps = _pull_to_prefix(x0, eps, prefix, prefix_weights.to(x0.dtype)[..., None], alpha_bar)
        x = math.sqrt(previous_alpha_bar) * x0 + math.sqrt(1 - previous_alpha_bar) * eps
    return x


def _pull_to_prefix(
    x0: Tensor, eps: Tensor, prefix: Tensor, weights: Tensor, alpha_bar: float
) -> tuple[Tensor, Tensor]:
    difference = weights * (prefix - x0)
    eps = eps - math.sqrt(alpha_bar) / math.sqrt(1 - alpha_bar) * difference
    # lerp and not x0 + difference: it is exact at both ends.
    return torch.lerp(x0, prefix.to(x0.dtype), weights), eps
