"""`st4vla train estimate`: what stage 1 would need on some GPUs."""

import argparse
from collections.abc import Mapping
from typing import Any

from st4vla.contracts.command_line import require_positive, table
from st4vla.training.presets import get_preset

SIZES = ("gpus", "batch_size", "tokens", "labelled", "patches", "mfu")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the estimate."""
    parser.add_argument("--preset", default="base", help="sizes of the policy (default: base)")
    parser.add_argument("--gpus", type=int, default=8, help="GPUs that share a step (default: 8)")
    parser.add_argument("--batch-size", type=int, default=128, help="samples in a step, over all GPUs (default: 128)")
    parser.add_argument("--tokens", type=int, default=192, help="tokens of a sample (default: 192)")
    parser.add_argument("--labelled", type=int, default=48, help="of those, tokens of answers (default: 48)")
    parser.add_argument("--patches", type=int, default=256, help="patches of a sample's pictures (default: 256)")
    parser.add_argument("--mfu", type=float, default=0.35, help="share of the peak that is reached (default: 0.35)")


def run(options: argparse.Namespace) -> Mapping[str, Any]:
    """Estimate, show it, and return it."""
    require_positive(options, *SIZES)
    preset = get_preset(options.preset)
    # PyTorch takes seconds to import: not before the command line is known to be right.
    import msgspec  # noqa: PLC0415

    from st4vla.training.empty_policy import build_empty_policy  # noqa: PLC0415
    from st4vla.training.loop.estimate import Load, Machine, estimate  # noqa: PLC0415

    policy = build_empty_policy(preset.model, preset.action.dim, preset.action.horizon, preset.sampler)
    load = Load(options.batch_size, options.tokens, options.labelled, options.patches)
    found = msgspec.to_builtins(estimate(policy, options.gpus, load, Machine(utilisation=options.mfu)))
    shown = {name: value for name, value in found.items() if isinstance(value, float | int)}
    print(table(list(shown.items()), ("estimate, not measured", "per GPU and step")))
    return {"measured": False, "preset": options.preset, "gpus": options.gpus, **found}
