"""Tests of a policy that gets its weights after it is made."""

import pytest
import torch

from st4vla.training.empty_policy import TIED, assign, build_empty_policy, find_misfits
from st4vla.training.policy import St4vlaPolicy, build_policy
from st4vla.training.presets import get_preset


def empty() -> St4vlaPolicy:
    preset = get_preset("tiny")
    return build_empty_policy(preset.model, preset.action.dim, preset.action.horizon, preset.sampler)


def plain() -> St4vlaPolicy:
    preset = get_preset("tiny")
    return build_policy(preset.model, preset.action.dim, preset.action.horizon, preset.sampler, 0)


def test_an_empty_policy_has_the_shapes_of_a_plain_one_and_no_memory() -> None:
    policy, expected = empty(), plain()
    shapes = {name: value.shape for name, value in policy.state_dict().items()}
    assert shapes == {name: value.shape for name, value in expected.state_dict().items()}
    assert all(parameter.is_meta for parameter in policy.parameters())
    assert not any(buffer.is_meta for buffer in policy.buffers())
    assert not policy.training


def test_an_empty_policy_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    empty()
    assert torch.equal(before, torch.random.get_rng_state())


def test_assigned_tensors_are_the_given_ones_and_not_copies() -> None:
    policy, weights = empty(), plain().state_dict()
    assert find_misfits(policy, {name: value for name, value in weights.items() if name != TIED}) is None
    assign(policy, weights.__getitem__)
    assert all(value.data_ptr() == weights[name].data_ptr() for name, value in policy.state_dict().items())
    assert {n: p.requires_grad for n, p in policy.named_parameters()} == {
        n: p.requires_grad for n, p in plain().named_parameters()
    }


def test_a_module_without_values_is_named() -> None:
    policy, weights = empty(), plain().state_dict()
    policy.dino_pro.register_buffer("scale", torch.ones(1, device="meta"), persistent=False)
    with pytest.raises(RuntimeError, match=r"no values for dino_pro\.scale"):
        assign(policy, weights.__getitem__)
