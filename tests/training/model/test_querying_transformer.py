from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from st4vla.training.model.querying_transformer import QueryingTransformer

Golden = dict[str, Tensor]
RelativeError = Callable[[Tensor, Tensor], float]


@torch.no_grad()
def test_condition_tokens_are_those_of_the_reference(
    golden: Golden, querying_transformer: QueryingTransformer, relative_error: RelativeError
) -> None:
    condition = querying_transformer([golden["in/qformer_hidden_0"], golden["in/qformer_hidden_1"]])
    assert relative_error(condition, golden["out/qformer"]) < 1e-5


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    model = QueryingTransformer(2048, 768, 64, 1)
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_710_656


@torch.no_grad()
def test_a_key_mask_removes_the_influence_of_padding(
    golden: Golden, querying_transformer: QueryingTransformer, relative_error: RelativeError
) -> None:
    hidden_states = [golden["in/qformer_hidden_0"], golden["in/qformer_hidden_1"]]
    padding = torch.full((2, 3, 48), 1e3)
    padded = [torch.cat([padding, hidden_state], dim=1) for hidden_state in hidden_states]
    key_mask = torch.ones(2, 14, dtype=torch.bool)
    key_mask[:, :3] = False
    assert relative_error(querying_transformer(padded, key_mask), golden["out/qformer"]) < 1e-5
    assert relative_error(querying_transformer(padded), golden["out/qformer"]) > 1e-2


@torch.no_grad()
def test_rows_may_be_padded_differently(
    golden: Golden, querying_transformer: QueryingTransformer, relative_error: RelativeError
) -> None:
    hidden_states = [golden["in/qformer_hidden_0"], golden["in/qformer_hidden_1"]]
    key_mask = torch.ones(2, 11, dtype=torch.bool)
    key_mask[1, :4] = False
    condition = querying_transformer(hidden_states, key_mask)
    alone = querying_transformer([hidden_state[1:, 4:] for hidden_state in hidden_states])
    assert relative_error(condition[:1], golden["out/qformer"][:1]) < 1e-5
    assert relative_error(condition[1:], alone) < 1e-5


def test_a_wrong_number_of_hidden_states_is_refused(querying_transformer: QueryingTransformer) -> None:
    with pytest.raises(ValueError, match="got 1 hidden states for 2 layers"):
        querying_transformer([torch.zeros(1, 3, 48)])


def test_a_width_that_does_not_divide_into_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="width 32 does not divide into 5 heads"):
        QueryingTransformer(48, 32, 8, 1, num_heads=5)


def test_the_gradient_decay_acts_on_the_hidden_states_and_on_nothing_else(golden: Golden) -> None:
    torch.manual_seed(1)
    decayed = QueryingTransformer(48, 32, 8, 1, num_heads=4, gradient_decay=0.25).eval()
    whole = QueryingTransformer(48, 32, 8, 1, num_heads=4, gradient_decay=1.0).eval()
    whole.load_state_dict(decayed.state_dict())
    found = []
    for model in (decayed, whole):
        hidden_state = golden["in/qformer_hidden_0"].clone().requires_grad_()
        visual = golden["in/qformer_hidden_1"].clone().requires_grad_()
        condition = model([hidden_state], visual_tokens=visual)
        condition.square().sum().backward()
        parameters = [parameter.grad for parameter in model.parameters()]
        found.append((condition, hidden_state.grad, visual.grad, parameters))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], 0.25 * found[1][1])
    assert torch.equal(found[0][2], found[1][2])
    assert all(torch.equal(*pair) for pair in zip(found[0][3], found[1][3], strict=True))


@torch.no_grad()
def test_visual_tokens_stand_after_each_hidden_state_and_are_never_masked(
    golden: Golden, querying_transformer: QueryingTransformer, relative_error: RelativeError
) -> None:
    hidden_states = [golden["in/qformer_hidden_0"], golden["in/qformer_hidden_1"]]
    parts = [hidden_state[:, :6] for hidden_state in hidden_states]
    visual = hidden_states[0][:, 6:]
    joined = querying_transformer([torch.cat([part, visual], dim=1) for part in parts])
    assert relative_error(querying_transformer(parts, visual_tokens=visual), joined) < 1e-6
    key_mask = torch.ones(2, 6, dtype=torch.bool)
    key_mask[:, 4:] = False
    masked = querying_transformer(parts, key_mask, visual)
    shorter = querying_transformer([torch.cat([part[:, :4], visual], dim=1) for part in parts])
    assert relative_error(masked, shorter) < 1e-5


def test_dropout_acts_only_in_training(golden: Golden, querying_transformer: QueryingTransformer) -> None:
    hidden_states = [golden["in/qformer_hidden_0"], golden["in/qformer_hidden_1"]]
    assert torch.equal(querying_transformer(hidden_states), querying_transformer(hidden_states))
    querying_transformer.train()
    assert not torch.equal(querying_transformer(hidden_states), querying_transformer(hidden_states))
