"""Linear layers made of others: multiplied out, scaled, or a part of one."""

import torch
from torch import Tensor, nn


def fold(outer_weight: Tensor, outer_bias: Tensor, inner: nn.Linear) -> nn.Linear:
    """Return one linear layer for `outer(inner(x))`, multiplied out in float64."""
    folded = nn.Linear(inner.in_features, outer_weight.shape[0])
    with torch.no_grad():
        folded.weight.copy_(outer_weight.double() @ inner.weight.double())
        folded.bias.copy_(outer_weight.double() @ inner.bias.double() + outer_bias.double())
    return folded


def scaled(linear: nn.Linear, gamma: Tensor) -> nn.Linear:
    """Return one linear layer for `gamma * linear(x)`."""
    with torch.no_grad():
        return linear_of(gamma[:, None] * linear.weight, gamma * linear.bias)


def linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear layer with a weight [out, in] and a bias [out], which are not copied."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return linear
