"""Tests of the planner and of the whole policy."""

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from st4vla.training.checkpoint import Checkpoint, init_checkpoint
from st4vla.training.model.diffusion import diffusion_loss
from st4vla.training.model.planner import hidden_states, patchify, special_token_id
from st4vla.training.policy import St4vlaPolicy

INSTRUCTIONS = ("lift it", "put the blue bowl next to the plate and then open the wooden drawer")
PREFIXES = ("qwen_vl_interface.model.", "layer_qformer.", "action_model.net.", "dino_encoder.body.", "dino_pro.")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return init_checkpoint("tiny", 0)


@pytest.fixture(scope="module")
def views() -> Tensor:
    return torch.randint(0, 256, (1, 2, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def token_ids(checkpoint: Checkpoint, instruction: str = "pick up the red cube") -> Tensor:
    return torch.tensor([checkpoint.tokenizer.encode(checkpoint.manifest.prompt.render(instruction)).ids])


@torch.no_grad()
def act(checkpoint: Checkpoint, views: Tensor, ids: Tensor, **arguments: Tensor) -> Tensor:
    noise = torch.randn(1, 16, 7, generator=torch.Generator().manual_seed(2))
    return checkpoint.policy.act(views, ids, noise, **arguments)


def test_patches_equal_those_of_the_hugging_face_image_processor(checkpoint: Checkpoint, views: Tensor) -> None:
    from transformers import Qwen2VLImageProcessor  # noqa: PLC0415

    reference = Qwen2VLImageProcessor()(images=list(views[0].numpy()), return_tensors="np")
    assert reference["image_grid_thw"].tolist() == [[1, 16, 16]] * 2
    ours = patchify(views[0], checkpoint.manifest.model.planner.vision).numpy()
    np.testing.assert_allclose(ours, reference["pixel_values"], rtol=0, atol=1e-6)


def test_patchify_refuses_views_that_do_not_divide_into_tokens(checkpoint: Checkpoint) -> None:
    with pytest.raises(ValueError, match="multiples of 28"):
        patchify(torch.zeros(1, 225, 224, 3, dtype=torch.uint8), checkpoint.manifest.model.planner.vision)


def test_an_unknown_special_token_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of"):
        special_token_id("<|nonsense|>", 512)


@torch.no_grad()
def test_the_last_hidden_state_is_what_the_language_head_reads(checkpoint: Checkpoint, views: Tensor) -> None:
    ids, planner = token_ids(checkpoint), checkpoint.policy.qwen_vl_interface.model
    config = checkpoint.manifest.model.planner
    states = hidden_states(planner, config, views[0], ids)
    assert [tuple(state.shape) for state in states] == [(1, ids.shape[1], 64)] * 3
    logits = planner(
        input_ids=ids, pixel_values=patchify(views[0], config.vision), image_grid_thw=torch.tensor([[1, 16, 16]] * 2)
    ).logits
    torch.testing.assert_close(planner.lm_head(states[-1]), logits)


def hugging_face_states(policy: St4vlaPolicy, views: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    rows, columns = views.shape[-3] // 14, views.shape[-2] // 14
    output = policy.qwen_vl_interface.model.model(
        input_ids=ids,
        pixel_values=patchify(views.flatten(0, 1), policy.config.planner.vision),
        image_grid_thw=torch.tensor([[1, rows, columns]] * len(views.flatten(0, 1))),
        attention_mask=mask.long(),
        output_hidden_states=True,
        use_cache=False,
    )
    states: tuple[Tensor, ...] = output.hidden_states
    return states


@pytest.mark.parametrize("image_tokens", [64, 16, 49])
def test_hidden_states_and_their_gradients_are_hugging_face_s_for_views_of_any_size(
    checkpoint: Checkpoint, image_tokens: int
) -> None:
    """49 tokens, 196 pixels, do not divide into windows and take Hugging Face's own way."""
    policy = init_checkpoint("tiny", 6).policy
    side = round(image_tokens**0.5) * 28
    prompt = msgspec.structs.replace(checkpoint.manifest.prompt, tokens_per_view=image_tokens)
    rows = [torch.tensor(checkpoint.tokenizer.encode(prompt.render(text)).ids) for text in INSTRUCTIONS]
    ids = pad_sequence(rows, batch_first=True, padding_value=0)
    mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
    generator = torch.Generator().manual_seed(8)
    views = torch.randint(0, 256, (2, 2, side, side, 3), dtype=torch.uint8, generator=generator)
    model, config = policy.qwen_vl_interface.model, policy.config.planner
    direction = torch.randn(config.dim, generator=generator)
    found = []
    for states in (
        hugging_face_states(policy, views, ids, mask),
        hidden_states(model, config, views.flatten(0, 1), ids, mask),
    ):
        policy.zero_grad()
        # Not the mean square: a normalised state has always the same one, and gradients of nothing but rounding.
        sum((state[mask] @ direction).square().mean() for state in states).backward()
        names = [name for name, parameter in policy.named_parameters() if parameter.grad is not None]
        gradients = {name: policy.get_parameter(name).grad for name in names}
        found.append(([state.detach()[mask] for state in states], gradients))
    for ours, theirs in zip(found[1][0], found[0][0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    for name, theirs in found[0][1].items():
        scale = float(theirs.abs().max())
        torch.testing.assert_close(found[1][1][name], theirs, rtol=1e-3, atol=1e-4 * scale, msg=name)


def test_prompts_without_a_token_for_each_part_of_a_view_are_refused(checkpoint: Checkpoint, views: Tensor) -> None:
    with pytest.raises(ValueError, match="prompts with 128 image tokens for views that become 64"):
        checkpoint.policy.plan(views[:, :1], token_ids(checkpoint))


def test_parameter_names_follow_the_published_checkpoints(checkpoint: Checkpoint) -> None:
    names = checkpoint.policy.state_dict()
    assert all(name.startswith(PREFIXES) for name in names)
    assert "qwen_vl_interface.model.model.language_model.embed_tokens.weight" in names
    assert "qwen_vl_interface.model.model.visual.merger.mlp.2.bias" in names


def test_actions_depend_on_the_views_and_on_the_instruction(checkpoint: Checkpoint, views: Tensor) -> None:
    ids = token_ids(checkpoint)
    actions = act(checkpoint, views, ids)
    assert actions.shape == (1, 16, 7)
    assert actions.isfinite().all()
    assert not torch.allclose(actions, act(checkpoint, 255 - views, ids))
    assert not torch.equal(actions, act(checkpoint, views, token_ids(checkpoint, "open the wooden drawer")))


def test_a_prefix_of_full_weight_is_returned_as_it_is(checkpoint: Checkpoint, views: Tensor) -> None:
    prefix, weights = torch.full((1, 16, 7), 0.25), torch.zeros(1, 16)
    weights[:, :4] = 1
    actions = act(checkpoint, views, token_ids(checkpoint), prefix=prefix, prefix_weights=weights)
    torch.testing.assert_close(actions[:, :4], prefix[:, :4])


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone(checkpoint: Checkpoint) -> None:
    before = torch.random.get_rng_state()
    again = init_checkpoint("tiny", 0).policy.state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(value, again[name]) for name, value in checkpoint.policy.state_dict().items())
    other = init_checkpoint("tiny", 1).policy.state_dict()
    assert not torch.equal(other["dino_pro.weight"], again["dino_pro.weight"])


def batch(checkpoint: Checkpoint, instructions: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Return token ids and mask [B, L] of prompts of unequal lengths."""
    rows = [token_ids(checkpoint, instruction)[0] for instruction in instructions]
    ids = pad_sequence(rows, batch_first=True, padding_value=special_token_id("<|endoftext|>", 512))
    mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
    return ids, mask


@torch.no_grad()
def test_prompts_of_unequal_lengths_in_one_batch_act_as_they_do_alone(checkpoint: Checkpoint) -> None:
    policy = checkpoint.policy
    ids, mask = batch(checkpoint, INSTRUCTIONS)
    assert not mask.all()
    generator = torch.Generator().manual_seed(3)
    views = torch.randint(0, 256, (2, 2, 224, 224, 3), dtype=torch.uint8, generator=generator)
    noise = torch.randn(2, 16, 7, generator=generator)
    together = policy.act(views, ids, noise, token_mask=mask)
    alone = [
        policy.act(views[row : row + 1], token_ids(checkpoint, instruction), noise[row : row + 1])
        for row, instruction in enumerate(INSTRUCTIONS)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_stands_in_the_padding_does_not_reach_the_bridge(checkpoint: Checkpoint, views: Tensor) -> None:
    policy = checkpoint.policy
    ids, mask = batch(checkpoint, INSTRUCTIONS)
    both = views.expand(2, -1, -1, -1, -1)
    other = torch.where(mask, ids, torch.full_like(ids, 7))
    conditions = [policy.condition(policy.plan(both, given, mask), both, mask) for given in (ids, other)]
    assert torch.equal(*conditions)
    leaking = [policy.condition(policy.plan(both, given, mask), both) for given in (ids, other)]
    assert not torch.equal(*leaking)


def gradients(policy: St4vlaPolicy, decay: float, views: Tensor, ids: Tensor) -> dict[str, Tensor]:
    policy.zero_grad()
    policy.layer_qformer.gradient_decay = decay
    generator = torch.Generator().manual_seed(4)
    actions, noise = torch.randn(2, 1, 16, 7, generator=generator)
    condition = policy.condition(policy.plan(views, ids), views)
    diffusion_loss(policy.action_model.net, actions, torch.tensor([50]), noise, condition).backward()
    return {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}


def test_gradient_decay_scales_the_planner_s_gradients_and_nothing_else(checkpoint: Checkpoint, views: Tensor) -> None:
    policy = init_checkpoint("tiny", 5).policy
    ids = token_ids(checkpoint)
    whole, half = (gradients(policy, decay, views, ids) for decay in (1.0, 0.5))
    assert whole.keys() == half.keys()
    planner = [name for name in whole if name.startswith("qwen_vl_interface.")]
    assert len(planner) > 50
    for name, gradient in whole.items():
        factor = 0.5 if name in planner else 1.0
        assert torch.equal(half[name], factor * gradient), name
    assert any(gradient.abs().max() > 0 for name, gradient in whole.items() if name in planner)


@torch.no_grad()
def test_gradient_decay_changes_no_bit_of_the_value(checkpoint: Checkpoint, views: Tensor) -> None:
    policy, ids = init_checkpoint("tiny", 5).policy, token_ids(checkpoint)
    conditions = []
    for decay in (0.3, 1.0):
        policy.layer_qformer.gradient_decay = decay
        conditions.append(policy.condition(policy.plan(views, ids), views))
    assert torch.equal(*conditions)
