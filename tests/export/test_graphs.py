"""Tests that the three graphs compute what the policy computes, in PyTorch and in ONNX Runtime."""

import numpy as np
import pytest
import torch
from torch import Tensor

from st4vla.contracts.ddim import ddim_steps
from st4vla.contracts.manifests import Bundle
from st4vla.export.bridge_graph import CELL_CHANNELS, BridgeGraph, Cells
from st4vla.export.planner_graph import PlannerGraph
from st4vla.export.sampler_graph import SamplerGraph
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.sampler import Sampler
from st4vla.training.checkpoint import Checkpoint
from st4vla.training.model.diffusion import ddim_sample

FOLDED, RUN = 1e-5, 1e-4


def head_ids(checkpoint: Checkpoint) -> list[int]:
    ids: list[int] = checkpoint.tokenizer.encode(checkpoint.manifest.prompt.head).ids
    return ids


def feeds(checkpoint: Checkpoint, instruction: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    weights = torch.zeros(1, 16)
    weights[:, :6] = torch.linspace(1, 0, 6)
    return {
        "views": torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8, generator=generator),
        "token_ids": torch.tensor([checkpoint.tokenizer.encode(checkpoint.manifest.prompt.render(instruction)).ids]),
        "noise": torch.randn(1, 16, 7, generator=generator),
        "prefix": torch.rand(1, 16, 7, generator=generator) * 2 - 1,
        "prefix_weights": weights,
    }


def relative(actual: object, expected: Tensor) -> float:
    reference = expected.numpy()
    return float(np.abs(np.asarray(actual) - reference).max() / np.abs(reference).max())


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [10, 4])
def test_the_folded_graphs_equal_the_policy_for_any_number_of_steps(checkpoint: Checkpoint, num_steps: int) -> None:
    policy, given = checkpoint.policy, feeds(checkpoint, "put the blue bowl on the table")
    plan = PlannerGraph(policy, head_ids(checkpoint)).eval()(given["views"], given["token_ids"])
    states = policy.plan(given["views"][None], given["token_ids"])
    for index, (state, layer) in enumerate(zip(states, policy.layer_qformer.layers, strict=True)):
        attention = layer.cross_attn
        both = torch.nn.functional.linear(
            policy.layer_qformer.proj(state), attention.in_proj_weight, attention.in_proj_bias
        )
        _, keys, values = both[0].chunk(3, dim=-1)
        assert max(relative(plan[0][index], keys), relative(plan[1][index], values)) < FOLDED
    condition, _ = BridgeGraph(policy).eval()(given["views"], *plan)
    expected = policy.action_model.net.z_embedder.linear(policy.condition(states, given["views"][None]))
    assert relative(condition, expected) < FOLDED
    step, chunk = SamplerGraph(policy).eval(), given["noise"]
    for each in ddim_steps(num_steps):
        timestep, coefficients = torch.tensor([each.timestep]), torch.tensor(each.coefficients)
        chunk = step(condition, chunk, timestep, coefficients, given["prefix"], given["prefix_weights"])
    whole = policy.condition(states, given["views"][None])
    actions = ddim_sample(
        policy.action_model.net, whole, given["noise"], num_steps, 1.5, given["prefix"], given["prefix_weights"]
    )
    assert relative(chunk, actions) < FOLDED


@torch.no_grad()
@pytest.mark.parametrize("instruction", ["lift it", "put the blue bowl next to the plate and then open the drawer"])
def test_onnx_runtime_equals_the_policy_for_prompts_of_any_length(
    checkpoint: Checkpoint, rebuilt: Bundle, instruction: str
) -> None:
    given = feeds(checkpoint, instruction)
    known: dict[str, np.ndarray] = {name: value.numpy() for name, value in given.items()}
    backend = OnnxRuntimeBackend()
    policy, batched = checkpoint.policy, given | {"views": given["views"][None]}
    for name in ("planner", "bridge", "sampler"):
        tensors = rebuilt.tensors(name)
        with backend.load(rebuilt.path(f"{name}.onnx"), tensors) as engine:
            if name == "sampler":
                actions = Sampler(engine, policy.sampler.num_steps).sample(known)
            else:
                known |= engine.run({tensor.name: known[tensor.name] for tensor in tensors.inputs})
    assert relative(actions, policy.act(**batched)) < RUN


@torch.no_grad()
def test_cells_are_the_averages_of_the_visual_tokens_in_them_less_their_views_mean(checkpoint: Checkpoint) -> None:
    tokens = torch.randn(2, 34 * 34, 5, generator=torch.Generator().manual_seed(0))
    cells = Cells(5)(tokens)
    assert cells.shape == (1, 2 * 2 * 2, 5), "of the divisors of 34, 17 are too many"
    squares = tokens.reshape(2, 2, 17, 2, 17, 5).mean(dim=(2, 4)).reshape(2, 4, 5)
    torch.testing.assert_close(cells[0, 4 + 1], squares[1, 1] - squares[1].mean(dim=0))
    assert Cells(5)(tokens[:, :256]).shape == (1, 2 * 256, 5)
    policy, given = checkpoint.policy, feeds(checkpoint, "lift it")
    plan = PlannerGraph(policy, head_ids(checkpoint)).eval()(given["views"], given["token_ids"])
    bridge = BridgeGraph(policy).eval()
    moved = given["views"].clone()
    moved[0, :56, :56] = 255 - moved[0, :56, :56]
    before, after = (bridge(views, *plan)[1][0] for views in (given["views"], moved))
    turned = 1 - torch.nn.functional.cosine_similarity(before, after, dim=-1)
    assert turned[:256].max() > 1e-3
    assert turned[256:].max() < 1e-6, "the other view has not changed"


def test_many_channels_are_projected_to_few_that_turn_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, 256, 1024, generator=generator)
    other = tokens + torch.linspace(0, 2, 256)[:, None] * torch.randn(tokens.shape, generator=generator)
    project = Cells(1024)
    assert project(tokens).shape == (1, 256, CELL_CHANNELS)
    few = torch.nn.functional.cosine_similarity(project(tokens), project(other), dim=-1)[0]
    all_of_them = torch.nn.functional.cosine_similarity(tokens, other, dim=-1)[0]
    # The deviation of an angle's cosine under a random projection to k directions is (1 - cosine^2) / sqrt(k).
    expected = ((1 - all_of_them**2).square().mean() / CELL_CHANNELS).sqrt()
    assert (few - all_of_them).square().mean().sqrt() < 1.5 * expected
