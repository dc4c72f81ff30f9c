"""Projection-space similarity (PSS): how far the gradients of two objectives lie in the same subspace.

For two gradients G1 and G2 [n, m] of one weight, with P = G G^+ the orthogonal projector onto the column space of one,
G^+ its Moore-Penrose inverse and r its rank::

    PSS(G1, G2) = tr(P1 P2) / min(r1, r2) = ||U1^T U2||_F^2 / min(r1, r2)

where U [n, r] are the left singular vectors of G with a singular value above zero. It is the mean squared cosine of the
principal angles between both spaces: the projection kernel of Hamm and Lee (Grassmann discriminant analysis, ICML 2008)
divided by its largest value. ST4VLA (arXiv 2602.10109) measures a grounding and an action objective with it, at the
query projection of the language model's last layer; InternVLA-M1 (arXiv 2510.13778) reports the same figure and cites
SVCCA (Raghu et al., arXiv 1706.05806) for it.

Two things decide what a value means. It ignores signs and lengths, so objectives that pull a weight into opposite
directions have a similarity of 1; the plain cosine stands beside it for that. And it grows with the rank: two random
spaces of k1 and k2 dimensions in n have max(k1, k2) / n on average, and two gradients of full row rank always have 1.
Compare values only at the same ranks, and against that chance level. A fixed rank keeps the leading directions only, so
that values of batches of different sizes can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from st4vla.contracts.errors import TrainingError, UsageError

Match = Callable[[str], bool]


@dataclass(frozen=True)
class Similarity:
    """How similar the gradients of two objectives are.

    Attributes:
        matrices: Name of each weight that both objectives reach to its projection-space similarity, in [0, 1].
        chance: Mean over the same weights of what random spaces of the same dimensions have; None without weights.
        cosine: Cosine, in [-1, 1], of both gradients, each flattened into one vector over the same weights; None
            without weights.
    """

    matrices: Mapping[str, float]
    chance: float | None
    cosine: float | None

    @property
    def mean(self) -> float | None:
        """Mean of `matrices`; None where the objectives have no weight in common."""
        return math.fsum(self.matrices.values()) / len(self.matrices) if self.matrices else None


def subspace(gradient: Tensor, rank: int | None = None, energy: float | None = None) -> Tensor:
    """Return an orthonormal basis [n, k] of the leading left singular space of a gradient [n, m].

    Directions beyond the numerical rank (singular values up to max(n, m) * eps of the largest, as for a pseudo-inverse)
    are rounding noise and never part of it, so k is 0 for a gradient of zero and may be smaller than `rank`.

    Args:
        gradient: Any floating type; computed in float32, or in float64 where it is that.
        rank: The most directions to keep, 1 to min(n, m).
        energy: Keep the fewest directions that hold this share of the squared Frobenius norm, in (0, 1]. With neither,
            the whole column space is kept.

    Raises:
        UsageError: A rank or share that is impossible, or both of them.
        ValueError: Not a matrix.
        TrainingError: The gradient is not finite.
    """
    return _subspace(gradient, rank, energy, "the gradient")


def projection_space_similarity(
    first: Tensor, second: Tensor, rank: int | None = None, *, energy: float | None = None
) -> float:
    """Return the projection-space similarity of two gradients, in [0, 1]; the module says how it is defined.

    It is 1 where one space holds the other, 0 where they are orthogonal, and about k / n for random spaces of k
    dimensions.

    Args:
        first: [n, m].
        second: [n, l].
        rank: Compare the leading directions, at most this many of each; see `subspace`.
        energy: Compare the directions that hold this share of each; see `subspace`. With neither, the whole column
            spaces are compared, as the paper does.

    Raises:
        UsageError: A rank or share that is impossible, or both of them.
        ValueError: A gradient is zero, so that it spans no space; or they have different numbers of rows.
        TrainingError: A gradient is not finite.
    """
    bases = [
        _subspace(first, rank, energy, "the first gradient"),
        _subspace(second, rank, energy, "the second gradient"),
    ]
    if bases[0].shape[0] != bases[1].shape[0]:
        msg = f"gradients of {bases[0].shape[0]} and {bases[1].shape[0]} rows; compare two of the same weight"
        raise ValueError(msg)
    if not all(basis.shape[1] for basis in bases):
        msg = "a gradient of zero spans no space; compare gradients only where both objectives reach the weight"
        raise ValueError(msg)
    return _overlap(*bases)


def gradients(
    module: nn.Module, loss: Tensor, *, match: Match | None = None, retain_graph: bool = True
) -> dict[str, Tensor]:
    """Return the gradient of a loss to each matrix of a module that it reaches, and leave every ``.grad`` alone.

    Nothing else changes either, so a training that logs similarities takes the same steps, bit for bit, as one that
    does not.

    Args:
        module: Its parameters that have two dimensions and learn are looked at.
        loss: A scalar.
        match: Takes a parameter's name and says whether to look at it. By default all are, but embeddings (also where
            an output layer shares them) and what is not called a weight, such as learned queries.
        retain_graph: Keep the loss's graph, for a ``backward`` or another call that comes after this.

    Raises:
        UsageError: Nothing to look at.
    """
    chosen = _chosen(module, match)
    if not loss.requires_grad:
        return {}
    found = torch.autograd.grad(loss, list(chosen.values()), retain_graph=retain_graph, allow_unused=True)
    return {name: gradient for name, gradient in zip(chosen, found, strict=True) if gradient is not None}


def similarity_of(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], rank: int | None = None, *, energy: float | None = None
) -> Similarity:
    """Compare the gradients of two objectives, matrix by matrix.

    A matrix counts if both hold it and neither gradient of it is zero: zero says the same as not being reached, and it
    is what a new policy's planner gets at first from the action objective, whose last layer begins at zero.

    Args:
        first: Name of a weight to its gradient [n, m], as `gradients` returns them.
        second: The same of the other objective.
        rank: See `projection_space_similarity`.
        energy: See `projection_space_similarity`.

    Raises:
        UsageError: A rank or share that is impossible, or both of them; a matrix that is too small for the rank.
        ValueError: Not matrices, or of different shapes.
        TrainingError: A gradient is not finite.
    """
    matrices: dict[str, float] = {}
    chances: list[float] = []
    dots: list[tuple[float, float, float]] = []
    for name in first:
        if name not in second:
            continue
        pair = first[name], second[name]
        if pair[0].shape != pair[1].shape:
            msg = f"gradients of {name} have the shapes {[*pair[0].shape]} and {[*pair[1].shape]}"
            raise ValueError(msg)
        bases = [_subspace(each, rank, energy, f"the gradient of {name}") for each in pair]
        ranks = [basis.shape[1] for basis in bases]
        if not all(ranks):
            continue
        matrices[name] = _overlap(*bases)
        chances.append(max(ranks) / pair[0].shape[0])
        dots.append(_dots(*pair))
    if not matrices:
        return Similarity({}, None, None)
    both, ones, others = (math.fsum(column) for column in zip(*dots, strict=True))
    return Similarity(matrices, math.fsum(chances) / len(chances), _bounded(both / math.sqrt(ones) / math.sqrt(others)))


def module_similarity(
    module: nn.Module,
    first_loss: Tensor,
    second_loss: Tensor,
    *,
    rank: int | None,
    match: Match | None = None,
    energy: float | None = None,
) -> dict[str, float]:
    """Return the projection-space similarity of two losses at each matrix that both reach, ready to be logged.

    Leaves ``.grad`` and both graphs as they are; see `gradients`.

    Args:
        module: What they share.
        first_loss: A scalar.
        second_loss: A scalar; it may share its graph with the first.
        rank: See `projection_space_similarity`.
        match: Takes a parameter's name and says whether to look at it; see `gradients`.
        energy: See `projection_space_similarity`.

    Returns:
        Name of each matrix to its similarity, and ``"mean"``, ``"chance"`` and ``"cosine"`` as in `Similarity`. Empty
        where the losses have no matrix in common.

    Raises:
        UsageError: Nothing to look at, or a rank or share that is impossible.
        TrainingError: A gradient is not finite.
    """
    found = similarity_of(
        gradients(module, first_loss, match=match), gradients(module, second_loss, match=match), rank, energy=energy
    )
    figures = {"mean": found.mean, "chance": found.chance, "cosine": found.cosine}
    return {**found.matrices, **{name: value for name, value in figures.items() if value is not None}}


def _chosen(module: nn.Module, match: Match | None) -> dict[str, nn.Parameter]:
    """Return the matrices to look at, by name."""
    embeddings = {id(each.weight) for each in module.modules() if isinstance(each, nn.Embedding | nn.EmbeddingBag)}
    matrices = {name: each for name, each in module.named_parameters() if each.ndim == 2 and each.requires_grad}
    chosen = {
        name: each
        for name, each in matrices.items()
        if (match(name) if match else name.endswith("weight") and id(each) not in embeddings)
    }
    if not chosen:
        msg = f"no matrix to compare gradients of; those that learn are {', '.join(matrices) or 'none'}"
        raise UsageError(msg)
    return chosen


def _subspace(gradient: Tensor, rank: int | None, energy: float | None, name: str) -> Tensor:
    if gradient.ndim != 2 or not gradient.numel():
        msg = f"{name} has the shape {[*gradient.shape]}; it must be a matrix"
        raise ValueError(msg)
    rows, columns = gradient.shape
    _check_choice(rank, energy, min(rows, columns), f"{name}, {rows} by {columns}")
    # Autocast would multiply in half precision.
    with torch.no_grad(), torch.autocast(gradient.device.type, enabled=False):
        matrix = gradient if gradient.dtype == torch.float64 else gradient.float()
        largest = float(matrix.abs().max())
        if not math.isfinite(largest):
            msg = f"{name} is not finite; look at the loss and the learning rate of the steps before"
            raise TrainingError(msg)
        if largest == 0:
            return matrix[:, :0]
        # Scaled, so that squares of a small gradient do not vanish.
        left, values, _ = torch.linalg.svd(matrix / largest, full_matrices=False)
        kept = int((values > max(rows, columns) * torch.finfo(values.dtype).eps * values[0]).sum())
        if rank is not None:
            kept = min(kept, rank)
        if energy is not None:
            sums = values.double().square().cumsum(0)
            kept = min(kept, int((sums < energy * sums[-1]).sum()) + 1)
        return left[:, :kept]


def _check_choice(rank: int | None, energy: float | None, most: int, name: str) -> None:
    if rank is not None and energy is not None:
        msg = f"both a rank of {rank} and an energy of {energy:g} were given; choose one of them"
        raise UsageError(msg)
    if rank is not None and not 1 <= rank <= most:
        msg = f"no {rank} leading directions in {name}; choose a rank of 1 to {most}, or leave that matrix out"
        raise UsageError(msg)
    if energy is not None and not 0 < energy <= 1:
        msg = f"energy {energy:g} is no share; choose one above 0 and up to 1"
        raise UsageError(msg)


def _overlap(first: Tensor, second: Tensor) -> float:
    """Return the mean squared cosine of the principal angles between the spaces of two bases."""
    with torch.autocast(first.device.type, enabled=False):
        squares = (first.double().T @ second.double()).square()
    return _bounded(float(squares.sum()) / min(squares.shape))


def _dots(first: Tensor, second: Tensor) -> tuple[float, float, float]:
    """Return the products of two gradients, flattened: one with the other, and each with itself."""
    one, other = first.double().flatten(), second.double().flatten()
    return float((one * other).sum()), float(one.square().sum()), float(other.square().sum())


def _bounded(value: float) -> float:
    """Take what rounding put beyond 1 back to it."""
    return max(-1.0, min(1.0, value))
