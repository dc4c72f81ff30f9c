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

    def plan(self, views: Tensor, token_ids: Tensor) -> tuple[Tensor, ...]:
        """Return the N hidden states that the bridge reads, each [1, L, dim].

        Args:
            views: RGB uint8 [V, H, W, 3].
            token_ids: int64 [1, L].
        """
        states = hidden_states(self.qwen_vl_interface.model, self.config.planner, views, token_ids)
        return states[self.config.bridge.start_layer : self.config.bridge.end_layer]

    def condition(self, plan: Sequence[Tensor], views: Tensor) -> Tensor:
        """Return condition tokens [1, Q, D] from a plan of N states [1, L, dim] and views uint8 [V, H, W, 3]."""
        tokens = self.dino_encoder.body(normalize_views(views, IMAGENET_MEAN, IMAGENET_STD))
        visual = self.dino_pro(tokens.flatten(0, 1)[None])
        decay = self.config.bridge.gradient_decay
        decayed = (state * decay + state.detach() * (1 - decay) if state.requires_grad else state for state in plan)
        return self.layer_qformer([torch.cat([state, visual], dim=1) for state in decayed])

    def act(
        self,
        views: Tensor,
        token_ids: Tensor,
        noise: Tensor,
        prefix: Tensor | None = None,
        prefix_weights: Tensor | None = None,
    ) -> Tensor:
        """Return a chunk of normalised actions [1, T, A].

        Args:
            views: RGB uint8 [V, H, W, 3].
            token_ids: int64 [1, L].
            noise: Standard normal, [1, T, A].
            prefix: Normalised actions to hold to, [1, T, A]; see `ddim_sample`.
            prefix_weights: How firmly, [1, T] in [0, 1].
        """
        condition = self.condition(self.plan(views, token_ids), views)
        return ddim_sample(
            self.action_model.net,
            condition,
            noise,
            self.sampler.num_steps,
            self.sampler.guidance_scale,
            prefix,
            prefix_weights,
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
