"""Train every row with every seed; a run that is done is not done again."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec
import torch

from st4vla.contracts.errors import UsageError
from st4vla.contracts.files import write_atomically
from st4vla.training.ablation.children import end_with_parent
from st4vla.training.ablation.report import RowResult, read_result, write_report
from st4vla.training.ablation.rows import AblationConfig, Row, row_config
from st4vla.training.actions.stage import train_actions
from st4vla.training.loop.receipt import RECEIPT

CONFIG = "ablation.json"


def train_ablation(
    config: AblationConfig, run: Path, *, progress: Callable[[Row, int, int, int], None] = lambda *_: None
) -> list[RowResult]:
    """Train all rows and write `table.md`, `receipt.json` and plots into `run`, going on where an earlier try ended.

    Args:
        config: What to do.
        run: Folder; each run has ``<row>/seed_<n>`` in it.
        progress: Called when a run has ended, with its row and seed, how many have, and of how many.

    Raises:
        UsageError: `run` holds the runs of another configuration.
        St4vlaError: See `train_actions`.
    """
    _claim(config, run)
    began = time.monotonic()
    jobs = [(row, seed) for seed in config.seeds for row in Row]
    waiting = [(row, seed) for row, seed in jobs if not (_folder(run, row, seed) / RECEIPT).is_file()]
    done = len(jobs) - len(waiting)
    threads = max(1, len(os.sched_getaffinity(0)) // config.workers)
    # Not forked: PyTorch's threads would be lost in a copy of this process.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.workers, context, initializer=end_with_parent, initargs=(os.getpid(),)) as pool:
        futures = {
            pool.submit(_train, row_config(config, row, seed), _folder(run, row, seed), threads): (row, seed)
            for row, seed in waiting
        }
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                progress(*futures[future], done, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    results = [RowResult(row, [read_result(_folder(run, row, seed)) for seed in config.seeds]) for row in Row]
    write_report(run, results, config, seconds_of_this_try=time.monotonic() - began)
    return results


def _train(config: object, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    train_actions(config, folder)  # type: ignore[arg-type]


def _folder(run: Path, row: Row, seed: int) -> Path:
    return run / row.value / f"seed_{seed}"


def _claim(config: AblationConfig, run: Path) -> None:
    """Refuse to mix runs of two configurations in one table; more seeds, or another number of workers, are no other."""
    comparable = msgspec.structs.replace(config, seeds=(0,), workers=1)
    encoded = msgspec.json.format(msgspec.json.encode(comparable, enc_hook=str), indent=2) + b"\n"
    path = run / CONFIG
    if path.is_file() and path.read_bytes() != encoded:
        msg = f"{run} holds the runs of another configuration ({path}); name another folder with --out"
        raise UsageError(msg)
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(path, encoded)
