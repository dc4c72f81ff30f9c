"""`st4vla train`: begin a policy, import a published one, or train it."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st4vla.contracts.command_line import Command, require_positive
from st4vla.contracts.errors import UsageError
from st4vla.training.commands import (
    train_ablation,
    train_actions,
    train_estimate,
    train_grounding,
    train_plot,
    train_throughput,
)
from st4vla.training.presets import get_preset


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    init = actions.add_parser("init", help="write an untrained policy")
    init.add_argument("--preset", default="tiny", help="sizes and action space to begin with")
    init.add_argument("--seed", type=int, default=0, help="the same seed gives the same weights")
    init.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    init.add_argument("--force", action="store_true", help="write into a folder that is not empty")
    published = actions.add_parser("import", help="turn a published InternVLA-M1 run into a checkpoint")
    published.add_argument("run", type=Path, help="folder with config.yaml, dataset_statistics.json and checkpoints/")
    published.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    published.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json of Qwen2.5-VL")
    published.add_argument("--weights", type=Path, help="weights to take instead of the run's newest")
    published.add_argument("--view", action="append", help="a camera, in prompt order (default: agentview, wrist)")
    published.add_argument("--embodiment", help="keep the action statistics of this one (default: all)")
    published.add_argument("--action-hz", type=float, default=20.0, help="actions per second (default: 20)")
    published.add_argument("--force", action="store_true", help="write into a folder that is not empty")
    train_grounding.configure(actions.add_parser("grounding", help="stage 1: teach a planner to say where things are"))
    train_actions.configure(
        actions.add_parser("actions", help="stage 2: teach a policy to act, and keep its grounding")
    )
    train_ablation.configure(actions.add_parser("ablation", help="the paper's four rows on equal budgets"))
    train_estimate.configure(actions.add_parser("estimate", help="what stage 1 would need on some GPUs, by formulas"))
    train_plot.configure(actions.add_parser("plot", help="draw a run's metrics"))
    train_throughput.configure(
        actions.add_parser("throughput", help="time the joint step against a plain Hugging Face loop")
    )


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    runs = {
        "init": _init,
        "import": _import,
        "grounding": train_grounding.run,
        "actions": train_actions.run,
        "ablation": train_ablation.run,
        "estimate": train_estimate.run,
        "plot": train_plot.run,
        "throughput": train_throughput.run,
    }
    return runs[options.action](options)


def _require_free(out: Path, *, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise UsageError(f"{out} is not empty; choose another folder with --out, or overwrite it with --force")


def _init(options: argparse.Namespace) -> Mapping[str, Any]:
    get_preset(options.preset)
    out: Path = options.out
    _require_free(out, force=options.force)
    # PyTorch takes seconds to import: not before the command line is known to be right.
    from st4vla.training.checkpoint import init_checkpoint, save_checkpoint  # noqa: PLC0415

    checkpoint = init_checkpoint(options.preset, options.seed)
    manifest = save_checkpoint(out, checkpoint)
    parameters = sum(parameter.numel() for parameter in checkpoint.policy.parameters())
    return {
        "checkpoint": str(out),
        "preset": manifest.preset,
        "seed": manifest.seed,
        "parameters": parameters,
        "files": {name: entry.size for name, entry in manifest.files.items()},
    }


def _import(options: argparse.Namespace) -> Mapping[str, Any]:
    out, run = options.out, options.run
    require_positive(options, "action_hz")
    views = options.view or ["agentview", "wrist"]
    if len(set(views)) != len(views):
        raise UsageError(f"--view {' --view '.join(views)}: each camera has its own name")
    if not run.is_dir():
        raise UsageError(f"{run} is not a folder; name the folder of a run, with config.yaml in it")
    _require_free(out, force=options.force)
    from st4vla.training.checkpoint import save_checkpoint  # noqa: PLC0415
    from st4vla.training.published.load import find_weights, load_published  # noqa: PLC0415

    weights = options.weights or find_weights(run)
    checkpoint = load_published(
        run,
        tokenizer=options.tokenizer,
        weights=weights,
        views=views,
        embodiment=options.embodiment,
        action_hz=options.action_hz,
    )
    manifest = save_checkpoint(out, checkpoint)
    parameters = list(checkpoint.policy.parameters())
    return {
        "checkpoint": str(out),
        "weights": str(weights),
        "preset": manifest.preset,
        "embodiments": sorted(manifest.statistics),
        "views": views,
        "action_dim": manifest.action.dim,
        "horizon": manifest.action.horizon,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "dtypes": sorted({str(parameter.dtype).removeprefix("torch.") for parameter in parameters}),
        "files": {name: entry.size for name, entry in manifest.files.items()},
    }


COMMAND = Command("Begin a policy, import a published one, or train it.", _configure, _run)
