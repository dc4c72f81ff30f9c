"""System 2 as one graph: views and tokens to the bridge's keys and values.

The layers' weights are the policy's own; what differs is how they are called. Views have one size (see
`st4vla.training.model.vision`), and image tokens lie at fixed slots of the prompt, whose head is always the same. What
the planner makes of the text before the first image is therefore the same in every call: the graph holds its keys and
values, and begins with the first image.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from st4vla.contracts.model_config import VisionConfig
from st4vla.export.linears import fold
from st4vla.export.patches import FoldedPatches
from st4vla.training.model.vision import IMAGE_MEAN, IMAGE_STD, ViewGrid, encode_patches, rotate, view_grid
from st4vla.training.policy import St4vlaPolicy

#: Added to what attention may not see; its exponential is zero in every precision, and it is far from float16's end.
MASKED = -1e4


def key_value_projections(policy: St4vlaPolicy, inner: nn.Linear) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Return for each layer of the bridge its key and its value projection, folded with `inner`."""
    keys, values = [], []
    for layer in policy.layer_qformer.layers:
        _, key_weight, value_weight = layer.cross_attn.in_proj_weight.chunk(3)
        _, key_bias, value_bias = layer.cross_attn.in_proj_bias.chunk(3)
        keys.append(fold(key_weight, key_bias, inner))
        values.append(fold(value_weight, value_bias, inner))
    return nn.ModuleList(keys), nn.ModuleList(values)


class VisionTower(nn.Module):  # type: ignore[misc]
    """Qwen2.5-VL's vision tower for views of one size: uint8 [V, H, W, 3] to tokens [V, tokens_per_view, dim].

    Raises:
        ValueError: The view does not divide into whole windows.
    """

    def __init__(self, policy: St4vlaPolicy) -> None:
        super().__init__()
        self.config = policy.config.planner.vision
        visual = policy.qwen_vl_interface.model.model.visual
        self.blocks, self.merger = visual.blocks, visual.merger
        side = policy.config.image_size
        grid = view_grid(self.config, side, side, torch.device("cpu"))
        for field in fields(grid):
            self.register_buffer(field.name, getattr(grid, field.name))
        # A still view fills both frames of the temporal patch.
        weight = visual.patch_embed.proj.weight.sum(dim=2)
        self.patches = FoldedPatches(weight, None, IMAGE_MEAN, IMAGE_STD)
        self.register_buffer("rows_first", _rows_first(self.config, side)[grid.patch_order])

    def forward(self, views: Tensor) -> Tensor:
        """Return [V, tokens_per_view, dim]."""
        grid = ViewGrid(self.patch_order, self.token_order, self.cos, self.sin)
        return encode_patches(self, self.config, grid, self.patches(views).index_select(1, self.rows_first))


def _rows_first(config: VisionConfig, side: int) -> Tensor:
    """Return, for each patch of a square view, token by token, where it lies row by row: int64 [P]."""
    merge, count = config.merge_size, side // config.patch_size
    places = torch.arange(count * count).reshape(count // merge, merge, count // merge, merge)
    return places.transpose(1, 2).flatten()


class PlannerGraph(nn.Module):  # type: ignore[misc]
    """Map views uint8 [V, H, W, 3] and token_ids int64 [1, L] to plan_keys and plan_values [N, L, D].

    Args:
        policy: The policy to export.
        head_ids: Token ids of the prompt's head, up to and with the last image token and what closes it; the prompt
            begins with them in every call.
    """

    def __init__(self, policy: St4vlaPolicy, head_ids: Sequence[int]) -> None:
        super().__init__()
        config = policy.config
        self.config, self.bridge = config.planner, config.bridge
        self.tokens_per_view = config.tokens_per_view
        model = policy.qwen_vl_interface.model.model
        language = model.language_model
        image = model.config.image_token_id
        slots = [index for index, token in enumerate(head_ids) if token == image and head_ids[index - 1] != image]
        rows = config.image_size // config.planner.vision.patch_size
        grid = torch.tensor([[1, rows, rows]] * len(slots))
        positions = model.get_rope_index(torch.tensor([list(head_ids)]), image_grid_thw=grid)[0][:, 0]
        # Text after the head counts on from the largest position, in all three axes alike.
        self.next_position = int(positions.max()) + 1
        axes = [axis for axis, size in enumerate(self.config.mrope_section) for _ in range(size)]
        head_positions = positions[axes].T.float()
        self.register_buffer("frequencies", language.rotary_emb.inv_freq.detach().float().clone())
        self.visual = VisionTower(policy)
        self.embed, self.norm = language.embed_tokens, language.norm
        self.layers = language.layers[: min(self.bridge.end_layer - 1, self.config.depth)]
        self.keys, self.values = key_value_projections(policy, policy.layer_qformer.proj)
        self.known = slots[0]
        self.slots = [slot - self.known for slot in slots]
        self.register_buffer("head_positions", head_positions[self.known :])
        self._remember(torch.tensor([list(head_ids[: self.known])]), head_positions[: self.known])

    def forward(self, views: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return plan_keys and plan_values, each float32 [N, L, D]."""
        x = self._join(self.embed(token_ids[:, self.known :]), self.visual(views))
        tail = token_ids.shape[1] - self.known - self.head_positions.shape[0]
        count = torch.arange(tail, device=token_ids.device) + self.next_position
        tail_positions = count[:, None].float().expand(-1, self.frequencies.shape[0])
        angles = torch.cat([self.head_positions, tail_positions]) * self.frequencies
        known = [(getattr(self, f"known_key_{i}"), getattr(self, f"known_value_{i}")) for i in range(len(self.layers))]
        (keys, values), _ = self._run(x, angles, known)
        return torch.cat([self.known_plan_keys, keys], dim=1), torch.cat([self.known_plan_values, values], dim=1)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _remember(self, token_ids: Tensor, positions: Tensor) -> None:
        """Keep what becomes of the text before the first image."""
        x = self.embed(token_ids)
        nothing = x.new_zeros(1, self.config.num_kv_heads, 0, self.config.dim // self.config.num_heads)
        plan, pairs = self._run(x, positions * self.frequencies, [(nothing, nothing)] * len(self.layers))
        for name, value in zip(("known_plan_keys", "known_plan_values"), plan, strict=True):
            self.register_buffer(name, value.clone())
        for index, (key, value) in enumerate(pairs):
            self.register_buffer(f"known_key_{index}", key.clone())
            self.register_buffer(f"known_value_{index}", value.clone())

    def _run(
        self, x: Tensor, angles: Tensor, known: Sequence[tuple[Tensor, Tensor]]
    ) -> tuple[tuple[Tensor, Tensor], list[tuple[Tensor, Tensor]]]:
        """Run the layers on tokens that follow others.

        Args:
            x: Embedded tokens [1, L, dim].
            angles: Of their rotary embedding, [L, half of a head's width].
            known: For each layer keys and values of the tokens before them, [1, key heads, K, head's width].

        Returns:
            plan_keys and plan_values of x, and each layer's keys and values of it.
        """
        angles = torch.cat([angles, angles], dim=-1)
        cos, sin = angles.cos(), angles.sin()
        before, count = known[0][0].shape[2], x.shape[1]
        steps = torch.arange(before + count, device=x.device)
        # Finite, and shared by all layers: a mask of truth values becomes nodes that guard against rows without any.
        causal = (steps[before:, None] < steps[None, :]).to(x.dtype) * MASKED
        states, pairs = [x], []
        for layer, (known_key, known_value) in zip(self.layers, known, strict=True):
            query, key, value = self._project(layer.self_attn, layer.input_layernorm(x), cos, sin)
            pairs.append((key, value))
            keys, values = torch.cat([known_key, key], dim=2), torch.cat([known_value, value], dim=2)
            x = x + layer.self_attn.o_proj(self._attend(query, keys, values, causal))
            x = x + layer.mlp(layer.post_attention_layernorm(x))
            states.append(x)
        if len(states) == self.config.depth + 1:
            states[-1] = self.norm(x)
        read = states[self.bridge.start_layer : self.bridge.end_layer]
        plan_keys = torch.cat([project(state) for project, state in zip(self.keys, read, strict=True)])
        plan_values = torch.cat([project(state) for project, state in zip(self.values, read, strict=True)])
        return (plan_keys, plan_values), pairs

    def _join(self, text: Tensor, images: Tensor) -> Tensor:
        parts, end = [], 0
        for view, start in enumerate(self.slots):
            parts += [text[:, end:start], images[view][None]]
            end = start + self.tokens_per_view
        return torch.cat([*parts, text[:, end:]], dim=1)

    def _project(self, attention: Any, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return turned queries and keys, and values, each [1, heads or key heads, L, head's width]."""
        heads, groups = self.config.num_heads, self.config.num_kv_heads
        query = attention.q_proj(x).unflatten(-1, (heads, -1)).transpose(1, 2)
        key = attention.k_proj(x).unflatten(-1, (groups, -1)).transpose(1, 2)
        value = attention.v_proj(x).unflatten(-1, (groups, -1)).transpose(1, 2)
        return rotate(query, cos, sin), rotate(key, cos, sin), value

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Return [1, L, dim]."""
        shared = self.config.num_heads // self.config.num_kv_heads
        key, value = (part.repeat_interleave(shared, dim=1) for part in (key, value))
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return attended.transpose(1, 2).flatten(2)
