"""The processes that `accelerate launch` or `torchrun` started, with DDP, FSDP2 or DeepSpeed's ZeRO as it says.

What each of them computes is averaged: DDP all-reduces the gradient and FSDP2 reduce-scatters it, both divided by the
number of processes, so losses are shares whose mean over the processes is what one process would minimise (see
`Processes.mean`). DeepSpeed cannot be had without an NVIDIA GPU; that branch is written to Accelerate's documentation
and has not been run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    FullyShardedDataParallelPlugin,
    InitProcessGroupKwargs,
)
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from typing_extensions import override

from st4vla.contracts.errors import ManifestError, St4vlaError, UsageError
from st4vla.training.loop.processes import Processes
from st4vla.training.loop.world import World

T = TypeVar("T")
#: Others wait this long for what the first process does alone, such as asking for boxes.
PATIENCE = timedelta(hours=3)


class AcceleratedWorld(World):
    """All processes of a launch.

    Raises:
        UsageError: Several processes were launched, and Accelerate finds no device for them; or FSDP of version 1.
    """

    def __init__(self) -> None:
        plugin = _sharding()
        # A parameter may have no part in a step, such as one that a random choice passes over.
        handlers = [
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ]
        accelerator = Accelerator(kwargs_handlers=handlers, fsdp_plugin=plugin)
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        if accelerator.num_processes != launched:
            msg = (
                f"{launched} processes were launched, and no accelerator was found for them; "
                "set ACCELERATE_USE_CPU=true to train on processors"
            )
            raise UsageError(msg)
        self._plugin = plugin
        self._accelerator = accelerator
        self._by_deepspeed: bool = accelerator.distributed_type == DistributedType.DEEPSPEED
        self.processes = Processes(accelerator.process_index, accelerator.num_processes)

    @override
    def first_only(self, action: Callable[[], T]) -> T:
        outcome: list[Any] = [None, None]
        if self.is_first:
            try:
                outcome[0] = action()
            except St4vlaError as error:
                outcome[1] = error
        if self.processes.count > 1:
            distributed.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        result: T = outcome[0]
        return result

    @override
    def move(self, model: nn.Module) -> None:
        model.to(self._accelerator.device)

    @override
    def widen(self, model: nn.Module) -> None:
        # DeepSpeed keeps copies of its own in float32.
        if self._accelerator.mixed_precision != "no" and not self._by_deepspeed:
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.float()

    @override
    def prepare(
        self, step: nn.Module, optimiser: torch.optim.Optimizer, clip_norm: float
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        if self._by_deepspeed:
            settings = self._accelerator.state.deepspeed_plugin.deepspeed_config
            # DeepSpeed clips by itself. The number of samples it wants for its reports only.
            settings.update(gradient_clipping=clip_norm, train_micro_batch_size_per_gpu=1)
        if self._plugin is not None:
            # Of itself, Accelerate shards on accelerators only; on processors the tests see it.
            self._accelerator.state.distributed_type = DistributedType.FSDP
            self._accelerator.state.fsdp_plugin = self._plugin
        prepared: tuple[nn.Module, torch.optim.Optimizer] = self._accelerator.prepare(step, optimiser)
        return prepared

    @override
    def gather(self, losses: Tensor) -> Tensor:
        if self.processes.count == 1:
            return losses[None]
        all_losses = [torch.empty_like(losses) for _ in range(self.processes.count)]
        distributed.all_gather(all_losses, losses)
        return torch.stack(all_losses)

    @override
    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    @override
    def clip(self, parameters: Sequence[nn.Parameter], clip_norm: float) -> float:
        return float(_whole(self._accelerator.clip_grad_norm_(parameters, clip_norm)))

    @override
    def whole(self, tree: Any) -> Any:
        if isinstance(tree, Mapping):
            return {name: self.whole(value) for name, value in tree.items()}
        if isinstance(tree, list | tuple):
            return type(tree)(self.whole(value) for value in tree)
        if not isinstance(tree, Tensor):
            return tree
        # Every process takes part in gathering; only the first one has room for all of it.
        value = _whole(tree)
        return value.cpu() if self.is_first else None

    @override
    def part(self, state: Mapping[str, Any], optimiser: torch.optim.Optimizer) -> Mapping[str, Any]:
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        moments = {
            index: {name: _part(value, parameters[index]) for name, value in entries.items()}
            for index, entries in state["state"].items()
        }
        return {**state, "state": moments}

    @override
    def save_parts(self, folder: Path) -> bool:
        if self._by_deepspeed:
            self._accelerator.save_state(str(folder))
        return self._by_deepspeed

    @override
    def load_parts(self, folder: Path) -> bool:
        if self._by_deepspeed:
            if not folder.is_dir():
                msg = f"{folder.parent} was not written by DeepSpeed; go on with the launch that began the run"
                raise ManifestError(msg)
            self._accelerator.load_state(str(folder))
        return self._by_deepspeed


def _sharding() -> FullyShardedDataParallelPlugin | None:
    """Return how parameters are sharded, from what the launcher put into the environment; None if they are not."""
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return None
    if os.environ.get("FSDP_VERSION", "1") != "2":
        msg = "the launch asks for the first FSDP, which is not supported; set fsdp_version: 2 in Accelerate's file"
        raise UsageError(msg)
    narrow = os.environ.get("ACCELERATE_MIXED_PRECISION", "no") == "bf16"
    # Accelerate's own policy sums gradients, and hands out losses, in bfloat16.
    policy = MixedPrecisionPolicy(torch.bfloat16 if narrow else None, torch.float32 if narrow else None)
    return FullyShardedDataParallelPlugin(mixed_precision_policy=policy)


def _whole(value: Any) -> Any:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _part(value: Any, parameter: nn.Parameter) -> Any:
    """Return a moment of a parameter, sharded as the parameter is; every process has the whole of it."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    mesh = parameter.device_mesh
    return distribute_tensor(value.to(parameter.device), mesh, parameter.placements, src_data_rank=None)
