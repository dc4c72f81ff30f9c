import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from st4vla.contracts.errors import TrainingError, UsageError
from st4vla.training.evaluation.similarity import (
    Similarity,
    gradients,
    module_similarity,
    projection_space_similarity,
    similarity_of,
    subspace,
)

N, M = 12, 9


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator))[0]


def spanning(basis: Tensor, generator: torch.Generator, columns: int = M) -> Tensor:
    """Return a gradient [n, columns] whose column space is that of the basis, with distinct singular values."""
    rank = basis.shape[1]
    values = torch.linspace(2, 1, rank) if rank > 1 else torch.ones(1)
    mixed = orthonormal(rank, rank, generator)
    return basis @ mixed * values @ orthonormal(columns, rank, generator).T


seeds = st.integers(0, 2**31)
ranks = st.integers(1, M // 2)
quickly = settings(deadline=None, max_examples=30)


@quickly
@given(seeds, ranks)
def test_equal_gradients_have_a_similarity_of_one(seed: int, rank: int) -> None:
    gradient = torch.randn(N, M, generator=draws(seed))
    assert projection_space_similarity(gradient, gradient, rank) == pytest.approx(1, abs=1e-5)
    assert projection_space_similarity(gradient, gradient) == pytest.approx(1, abs=1e-5)


@quickly
@given(seeds, ranks, st.data())
def test_spaces_that_share_j_of_k_directions_have_j_over_k(seed: int, rank: int, data: st.DataObject) -> None:
    shared = data.draw(st.integers(0, rank))
    generator = draws(seed)
    frame = orthonormal(N, N, generator)
    first = spanning(frame[:, :rank], generator)
    second = spanning(frame[:, rank - shared : 2 * rank - shared], generator)
    assert projection_space_similarity(first, second, rank) == pytest.approx(shared / rank, abs=1e-5)
    assert projection_space_similarity(first, second) == pytest.approx(shared / rank, abs=1e-5)


def test_orthogonal_gradients_have_none_and_more_overlap_is_more_similar() -> None:
    frame = torch.eye(N)
    found = [projection_space_similarity(frame[:, :4], frame[:, 4 - shared : 8 - shared]) for shared in range(5)]
    assert found == [0, 0.25, 0.5, 0.75, 1]


@quickly
@given(seeds, ranks)
def test_another_basis_of_the_same_space_changes_nothing(seed: int, rank: int) -> None:
    generator = draws(seed)
    bases = [orthonormal(N, rank, generator) for _ in range(2)]
    one, same = (projection_space_similarity(*[spanning(b, generator) for b in bases], rank) for _ in range(2))
    assert one == pytest.approx(same, abs=1e-5)


@quickly
@given(seeds, ranks)
def test_rotating_both_gradients_changes_nothing(seed: int, rank: int) -> None:
    generator = draws(seed)
    first, second = (spanning(orthonormal(N, rank, generator), generator) for _ in range(2))
    turn = orthonormal(N, N, generator)
    before = projection_space_similarity(first, second, rank)
    assert projection_space_similarity(turn @ first, turn @ second, rank) == pytest.approx(before, abs=1e-5)


@quickly
@given(seeds, ranks, st.sampled_from([1e-30, 1e-6, 3.0, 1e20]), st.sampled_from([1, -1]))
def test_neither_length_nor_sign_nor_order_changes_anything(seed: int, rank: int, scale: float, sign: int) -> None:
    generator = draws(seed)
    first, second = (spanning(orthonormal(N, rank, generator), generator) for _ in range(2))
    before = projection_space_similarity(first, second, rank)
    assert 0 <= before <= 1
    assert projection_space_similarity(first * scale * sign, second, rank) == pytest.approx(before, abs=1e-5)
    assert projection_space_similarity(second, first, rank) == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize(("rank", "other"), [(4, 4), (16, 16), (4, 16)])
def test_random_spaces_lie_at_the_chance_level(rank: int, other: int) -> None:
    n, generator = 64, draws(0)
    found = [
        projection_space_similarity(
            torch.randn(n, rank, generator=generator), torch.randn(n, other, generator=generator)
        )
        for _ in range(1000)
    ]
    assert math.fsum(found) / len(found) == pytest.approx(max(rank, other) / n, rel=0.05)


def test_it_is_the_trace_of_the_projectors_over_the_smaller_rank() -> None:
    first, second = spanning(torch.randn(N, 3), draws(1)), spanning(torch.randn(N, 5), draws(2))
    projectors = [each.double() @ torch.linalg.pinv(each.double(), rtol=1e-5) for each in (first, second)]
    assert projection_space_similarity(first, second) == pytest.approx(
        float(torch.trace(projectors[0] @ projectors[1])) / 3, abs=1e-5
    )


def test_the_result_is_the_same_every_time() -> None:
    first, second = torch.randn(N, M), torch.randn(N, M)
    assert len({projection_space_similarity(first, second, 3) for _ in range(5)}) == 1


def test_half_precision_is_computed_in_single_also_under_autocast() -> None:
    first, second = torch.randn(N, M).bfloat16(), torch.randn(N, M).bfloat16()
    expected = projection_space_similarity(first.float(), second.float(), 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert projection_space_similarity(first, second, 3) == expected
    assert subspace(first, 3).dtype == torch.float32


def test_a_basis_is_orthonormal_and_leads() -> None:
    gradient = torch.diag(torch.tensor([1.0, 4.0, 2.0]))
    basis = subspace(gradient, 2)
    assert basis.abs().tolist() == [[0, 0], [1, 0], [0, 1]]
    torch.testing.assert_close(basis.T @ basis, torch.eye(2))


@pytest.mark.parametrize(("energy", "directions"), [(0.5, 1), (0.76, 1), (0.77, 2), (0.95, 2), (0.96, 3), (1.0, 3)])
def test_an_energy_keeps_the_fewest_directions_that_hold_it(energy: float, directions: int) -> None:
    # Squared singular values 16, 4 and 1: shares 0.762, 0.952 and 1.
    assert subspace(torch.diag(torch.tensor([1.0, 4.0, 2.0])), energy=energy).shape == (3, directions)


def test_directions_of_rounding_noise_are_left_out() -> None:
    gradient = torch.outer(torch.randn(N), torch.randn(M))
    assert subspace(gradient, 4).shape == (N, 1)
    assert subspace(gradient).shape == (N, 1)


def test_a_gradient_of_zero_spans_no_space_and_is_refused() -> None:
    assert subspace(torch.zeros(N, M)).shape == (N, 0)
    with pytest.raises(ValueError, match="a gradient of zero spans no space"):
        projection_space_similarity(torch.zeros(N, M), torch.ones(N, M), 1)


@pytest.mark.parametrize(
    ("rank", "energy", "match"),
    [
        (10, None, "no 10 leading directions in the gradient, 12 by 9; choose a rank of 1 to 9"),
        (0, None, "no 0 leading directions"),
        (None, 0.0, "energy 0 is no share"),
        (None, 1.5, "energy 1.5 is no share"),
        (2, 0.5, "both a rank of 2 and an energy of 0.5"),
    ],
)
def test_what_cannot_be_kept_is_refused(rank: int | None, energy: float | None, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        subspace(torch.randn(N, M), rank, energy)


def test_what_is_no_gradient_of_one_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the gradient has the shape \[3\]; it must be a matrix"):
        subspace(torch.ones(3))
    with pytest.raises(ValueError, match="gradients of 3 and 4 rows"):
        projection_space_similarity(torch.ones(3, 2), torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"gradients of a have the shapes \[3, 2\] and \[3, 4\]"):
        similarity_of({"a": torch.ones(3, 2)}, {"a": torch.ones(3, 4)})
    with pytest.raises(TrainingError, match="the gradient of a is not finite"):
        similarity_of({"a": torch.tensor([[math.nan]])}, {"a": torch.ones(1, 1)})


class Shared(nn.Module):
    """A trunk with a head for each of two objectives."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 6)
        self.trunk = nn.Linear(6, 8)
        self.top = nn.Linear(8, 8)
        self.queries = nn.Parameter(torch.randn(4, 8))
        self.act = nn.Linear(8, 3)
        self.ground = nn.Linear(8, 5)

    def losses(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.trunk(self.embed(tokens)).relu()
        high = self.top(hidden) + self.queries.mean(0)
        return self.act(high).square().mean(), self.ground(hidden).square().mean()


def tokens() -> Tensor:
    return torch.randint(10, (16,), generator=draws(3))


def test_the_matrices_that_both_objectives_reach_are_compared() -> None:
    model = Shared()
    found = module_similarity(model, *model.losses(tokens()), rank=2)
    assert list(found) == ["trunk.weight", "mean", "chance", "cosine"]
    assert found["mean"] == found["trunk.weight"]
    assert found["chance"] == 2 / 8
    assert 0 <= found["mean"] <= 1


def test_a_predicate_chooses_among_all_matrices() -> None:
    model = Shared()
    found = module_similarity(model, *model.losses(tokens()), rank=2, match=lambda name: name.startswith("embed"))
    assert list(found) == ["embed.weight", "mean", "chance", "cosine"]
    with pytest.raises(UsageError, match=r"those that learn are queries, embed\.weight, trunk\.weight"):
        module_similarity(model, *model.losses(tokens()), rank=2, match=lambda name: name == "trunk")


def test_an_output_layer_that_shares_the_embeddings_is_left_out() -> None:
    model = nn.ModuleDict({"head": nn.Linear(6, 10, bias=False), "body": nn.Linear(6, 6), "embed": nn.Embedding(10, 6)})
    model["head"].weight = model["embed"].weight
    loss = model["head"](model["body"](model["embed"](tokens()))).square().mean()
    assert list(gradients(model, loss)) == ["body.weight"]


def test_frozen_weights_are_left_out() -> None:
    model = Shared()
    model.trunk.requires_grad_(False)
    assert module_similarity(model, *model.losses(tokens()), rank=2) == {}


def test_a_loss_that_reaches_nothing_has_no_gradients() -> None:
    model = Shared()
    assert gradients(model, torch.zeros(())) == {}
    assert module_similarity(model, model.losses(tokens())[0], torch.zeros(()), rank=2) == {}


def test_a_matrix_that_one_objective_does_not_move_is_left_out() -> None:
    model = Shared()
    nn.init.zeros_(model.act.weight)
    nn.init.zeros_(model.act.bias)
    act, ground = (gradients(model, loss) for loss in model.losses(tokens()))
    assert not act["trunk.weight"].any()
    assert similarity_of(act, ground, 2) == Similarity({}, None, None)
    assert similarity_of(act, ground, 2).mean is None


def test_a_matrix_that_is_too_small_for_the_rank_is_named() -> None:
    model = Shared()
    with pytest.raises(UsageError, match=r"no 7 leading directions in the gradient of trunk\.weight, 8 by 6"):
        module_similarity(model, *model.losses(tokens()), rank=7)


def test_opposite_objectives_have_a_similarity_of_one_and_a_cosine_of_minus_one() -> None:
    model = Shared()
    loss = model.losses(tokens())[0]
    found = module_similarity(model, loss, -2 * loss, rank=1)
    assert found["mean"] == pytest.approx(1)
    assert found["cosine"] == pytest.approx(-1)


def test_the_cosine_is_that_of_all_matrices_as_one_vector() -> None:
    first = {"a": torch.randn(3, 4), "b": torch.randn(5, 2), "only": torch.randn(2, 2)}
    second = {"b": torch.randn(5, 2), "a": torch.randn(3, 4)}
    flat = [torch.cat([each["a"].flatten(), each["b"].flatten()]) for each in (first, second)]
    found = similarity_of(first, second, 1)
    assert list(found.matrices) == ["a", "b"]
    assert found.cosine == pytest.approx(float(torch.cosine_similarity(*flat, dim=0)))
    assert found.mean == pytest.approx(math.fsum(found.matrices.values()) / 2)


def test_gradients_that_were_accumulated_for_the_optimiser_are_not_touched() -> None:
    model = Shared()
    model.trunk.weight.grad = torch.full((8, 6), 7.0)
    module_similarity(model, *model.losses(tokens()), rank=2)
    assert (model.trunk.weight.grad == 7).all()
    assert all(each.grad is None for name, each in model.named_parameters() if name != "trunk.weight")


def test_a_training_that_logs_similarities_takes_the_same_steps_bit_for_bit() -> None:
    def trained(logs: bool) -> list[Tensor]:
        torch.manual_seed(5)
        model = nn.ModuleDict({"shared": Shared(), "dropout": nn.Dropout(0.5)})
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for step in range(6):
            act, ground = model["shared"].losses(tokens())
            total = model["dropout"](torch.stack([act, ground])).sum()
            if logs and step % 2 == 0:
                assert module_similarity(model, act, ground, rank=2)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        return [each.detach() for each in model.parameters()]

    for plain, logged in zip(trained(False), trained(True), strict=True):
        assert torch.equal(plain, logged)
