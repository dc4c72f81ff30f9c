"""The whole policy in PyTorch: plan with System 2, then condition and act with System 1.

Parameter names are those of the published InternVLA-M1 checkpoints.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from st4vla.contracts.model_config import ModelConfig, SamplerConfig
from st4vla.training.model.diffusion import ddim_sample
from st4vla.training.model.diffusion_transformer import DiffusionTransformer
from st4vla.training.model.dinov2 import DinoEncoder
from st4vla.training.model.planner import build_planner, hidden_states, normalize_views
from st4vla.training.model.querying_transformer import QueryingTransformer

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class St4vlaPolicy(nn.Module):  # type: ignore[misc]
    """Map views and an instruction to a chunk of normalised actions.

    Args:
        config: Sizes of its networks.
        action_dim: A, numbers per action.
        horizon: T, actions per chunk.
        sampler: How chunks are drawn.

    Raises:
        ValueError: The bridge reads hidden states that the planner does not have.
    """

    def __init__(self, config: ModelConfig, action_dim: int, horizon: int, sampler: SamplerConfig) -> None:
        super().__init__()
        planner, encoder, bridge = config.planner, config.encoder, config.bridge
        if not 0 <= bridge.start_layer < bridge.end_layer <= planner.depth + 1:
            raise ValueError(
                f"the bridge reads hidden states {bridge.start_layer} up to but without {bridge.end_layer}; "
                f"the planner has 0 to {planner.depth}"
            )
        self.config = config
        self.sampler = sampler
        self.qwen_vl_interface = nn.Module()
        self.qwen_vl_interface.model = build_planner(planner)
        self.dino_encoder = nn.Module()
        self.dino_encoder.body = DinoEncoder(
            encoder.dim, encoder.depth, encoder.num_heads, encoder.patch_size, encoder.pretrained_grid
        )
        self.dino_pro = nn.Linear(encoder.dim, planner.dim)
        self.layer_qformer = QueryingTransformer(
            planner.dim, bridge.dim, bridge.num_queries, bridge.num_layers, bridge.num_heads, bridge.gradient_decay
        )
        self.action_model = nn.Module()
        self.action_model.net = DiffusionTransformer(
            action_dim, horizon, bridge.dim, config.head.depth, config.head.num_heads, bridge.num_queries
        )

    def plan(self, views: Tensor, token_ids: Tensor, token_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the N hidden states that the bridge reads, each [B, L, dim].

        Args:
            views: RGB uint8 [B, V, H, W, 3].
            token_ids: int64 [B, L], padded on the right.
            token_mask: bool [B, L], False on padding; None where there is none.
        """
        planner, config = self.qwen_vl_interface.model, self.config.planner
        states = hidden_states(planner, config, views.flatten(0, 1), token_ids, token_mask)
        return states[self.config.bridge.start_layer : self.config.bridge.end_layer]

    def condition(self, plan: Sequence[Tensor], views: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """Return condition tokens [B, Q, D].

        Args:
            plan: N states [B, L, dim].
            views: RGB uint8 [B, V, H, W, 3].
            token_mask: bool [B, L], False where a state is one of padding.
        """
        tokens = self.dino_encoder.body(normalize_views(views.flatten(0, 1), IMAGENET_MEAN, IMAGENET_STD))
        visual = self.dino_pro(tokens.unflatten(0, views.shape[:2]).flatten(1, 2))
        return self.layer_qformer(plan, token_mask, visual)

    def act(  # noqa: PLR0917 - as they come
        self,
        views: Tensor,
        token_ids: Tensor,
        noise: Tensor,
        prefix: Tensor | None = None,
        prefix_weights: Tensor | None = None,
        token_mask: Tensor | None = None,
    ) -> Tensor:
        """Return chunks of normalised actions [B, T, A].

        Args:
            views: RGB uint8 [B, V, H, W, 3].
            token_ids: int64 [B, L], padded on the right.
            noise: Standard normal, [B, T, A].
            prefix: Normalised actions to hold to, [B, T, A]; see `ddim_sample`.
            prefix_weights: How firmly, [B, T] in [0, 1].
            token_mask: bool [B, L], False on padding; None where there is none.
        """
        condition = self.condition(self.plan(views, token_ids, token_mask), views, token_mask)
        return ddim_sample(
            self.action_model.net,
            condition,
            noise,
            self.sampler.num_steps,
            self.sampler.guidance_scale,
            prefix,
            prefix_weights,
            clean_prefix=self.sampler.clean_prefix,
        )


def build_policy(config: ModelConfig, action_dim: int, horizon: int, sampler: SamplerConfig, seed: int) -> St4vlaPolicy:
    """Return an untrained policy in evaluation mode; the same seed gives the same weights.

    Its last layer is not zero, as training would begin with, so that its actions depend on what it sees.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy: St4vlaPolicy = St4vlaPolicy(config, action_dim, horizon, sampler)
        nn.init.xavier_uniform_(policy.action_model.net.final_layer.linear.weight)
    policy.eval()
    return policy
