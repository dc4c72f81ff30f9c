"""What stage 1 would need on sharded GPUs: an estimate from sizes alone, of which nothing was measured.

Formulas, for N GPUs, t tokens and p patches on each, widths d and m of a layer and of its feed-forward part:

- states: (4 parameters + 4 gradients + 8 AdamW) bytes of each learning parameter, 2 of each frozen one, over N
- gathered: 2 bytes of everything outside of the planner's layers and of two layers (one computes, one is on its way);
  2 and 4 more of what learns there, or of a layer: its gradient, and the same in float32 to be summed
- activations: 2 t d for every layer's input, since layers are checkpointed; 2 t (8 d + 4 m) in the one that is
  computed again; 2 p (12 d + 4 m) in each block of the vision tower; 14 bytes for each logit of a labelled token
- traffic of a GPU: (N - 1) / N of 2 bytes (layers twice, all else once) gathered and 4 bytes of what learns scattered
- FLOPs (Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", 2022): 8 a token and
  weight in the checkpointed layers and 16 t L d for their attention at length L; 6 a patch and weight in the vision
  tower, and a labelled token and weight of the head; attention in the vision tower is left out, about 1 % of it
"""

from __future__ import annotations

import msgspec
from torch import nn

from st4vla.contracts.errors import UsageError
from st4vla.contracts.model_config import ModelConfig
from st4vla.training.policy import St4vlaPolicy

GB = 1e9


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a GPU is taken to do: by default as NVIDIA's data sheet of the H100 SXM, nodes of 8 with 8 x 400 Gbit/s.

    Attributes:
        flops: Peak in bfloat16 without sparsity, per second.
        utilisation: Share of the peak that training reaches (MFU).
        node_gbs: GB/s that a GPU sends to its neighbour in a node.
        network_gbs: GB/s that a node sends to the next.
        link_utilisation: Share of either that a collective reaches.
        node_gpus: GPUs of a node.
    """

    flops: float = 989e12
    utilisation: float = 0.35
    node_gbs: float = 450.0
    network_gbs: float = 400.0
    link_utilisation: float = 0.7
    node_gpus: int = 8


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch over all GPUs: its samples, and of each the tokens, the labelled ones and the patches of its pictures."""

    batch_size: int = 128
    tokens: int = 192
    labelled: int = 48
    patches: int = 256


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Memory of a GPU in GB (10^9 bytes), and a step's traffic and time on it.

    A step takes `compute_s` if traffic hides behind it, and both in turn if nothing does.
    """

    learning_parameters: int
    frozen_parameters: int
    states_gb: float
    gathered_gb: float
    activations_gb: float
    total_gb: float
    traffic_gb: float
    traffic_s: float
    tflop: float
    compute_s: float
    step_s: tuple[float, float]
    samples_per_s: tuple[float, float]


def estimate(policy: St4vlaPolicy, gpus: int, load: Load, machine: Machine | None = None) -> Estimate:
    """Return what a step of stage 1 needs with FSDP2 in bfloat16, the planner's layers checkpointed.

    Args:
        policy: On any device, also the meta device.
        gpus: N.
        load: The batch.
        machine: The GPUs.

    Raises:
        UsageError: The batch does not divide among the GPUs.
    """
    machine = Machine() if machine is None else machine
    if gpus < 1 or load.batch_size % gpus:
        msg = f"a batch of {load.batch_size} for {gpus} GPUs; make it a multiple of that"
        raise UsageError(msg)
    config: ModelConfig = policy.config
    language, vision = config.planner, config.planner.vision
    planner = policy.qwen_vl_interface.model
    # The head has the weights of the embedding.
    learning, layers = _count(planner.model), _count(planner.model.language_model.layers)
    frozen = _count(policy) - _count(policy.qwen_vl_interface)
    root, layer = learning - layers, layers // language.depth
    share = load.batch_size // gpus
    tokens, labelled, patches = share * load.tokens, share * load.labelled, share * load.patches

    states = (16 * learning + 2 * frozen) / gpus
    gathered = 2 * (root + frozen + 2 * layer) + (2 + 4) * max(root, layer)
    checkpoints = 2 * tokens * language.dim * (language.depth + 1)
    recomputed = 2 * tokens * (8 * language.dim + 4 * language.mlp_dim)
    pictures = 2 * patches * (12 * vision.dim + 4 * vision.mlp_dim) * vision.depth
    logits = 14 * labelled * language.vocabulary
    activations = checkpoints + recomputed + pictures + logits

    traffic = (gpus - 1) / gpus * (2 * (2 * layers + root + frozen) + 4 * learning)
    link = machine.node_gbs if gpus <= machine.node_gpus else min(machine.node_gbs, machine.network_gbs)
    traffic_s = traffic / (link * GB * machine.link_utilisation)
    flop = 8 * tokens * layers + 16 * tokens * load.tokens * language.dim * language.depth
    flop += 6 * patches * _count(planner.model.visual.blocks) + 6 * labelled * language.vocabulary * language.dim
    compute_s = flop / (machine.flops * machine.utilisation)
    step_s = (max(compute_s, traffic_s), compute_s + traffic_s)
    return Estimate(
        learning_parameters=learning,
        frozen_parameters=frozen,
        states_gb=states / GB,
        gathered_gb=gathered / GB,
        activations_gb=activations / GB,
        total_gb=(states + gathered + activations) / GB,
        traffic_gb=traffic / GB,
        traffic_s=traffic_s,
        tflop=flop / 1e12,
        compute_s=compute_s,
        step_s=step_s,
        samples_per_s=(load.batch_size / step_s[1], load.batch_size / step_s[0]),
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
