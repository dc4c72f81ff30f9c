"""Which parameters learn, and how fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from st4vla.contracts.errors import UsageError


def parameter_groups(
    model: nn.Module, *, rate: float, rates: Mapping[str, float], frozen: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Freeze some modules and return optimiser groups of the others, each with its peak learning rate.

    Parameters that require no gradient to begin with stay as they are and are in no group.

    Args:
        model: The model; ``requires_grad`` of frozen parameters is switched off.
        rate: Learning rate of what `rates` does not name.
        rates: Path of a module, as in ``action_model`` or ``layer_qformer.proj``, to its rate; the longest path wins.
        frozen: Paths of modules that do not learn.

    Raises:
        UsageError: A path that names nothing, a rate that is not positive, or nothing that learns.
    """
    names = [name for name, _ in model.named_parameters()]
    unknown = [path for path in (*rates, *frozen) if not any(_within(name, path) for name in names)]
    if unknown:
        known = ", ".join(sorted({name.partition(".")[0] for name in names}))
        msg = f"no parameter lies in {', '.join(unknown)}; the model's modules are {known}"
        raise UsageError(msg)
    wrong = [f"{path or 'default'} {value:g}" for path, value in {"": rate, **rates}.items() if not 0 < value < 1]
    if wrong:
        msg = f"learning rates must lie between 0 and 1: {', '.join(wrong)}"
        raise UsageError(msg)
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if any(_within(name, path) for path in frozen):
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            paths = [path for path in rates if _within(name, path)]
            groups.setdefault(rates[max(paths, key=len)] if paths else rate, []).append(parameter)
    if not groups:
        msg = f"nothing learns: {', '.join(frozen)} hold all parameters of the model"
        raise UsageError(msg)
    return [{"params": parameters, "lr": peak, "peak": peak} for peak, parameters in groups.items()]


def _within(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")
