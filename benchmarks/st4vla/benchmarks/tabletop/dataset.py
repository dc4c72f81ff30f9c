"""Make a data set of the tabletop: scripted episodes to learn actions from, and scenes to learn grounding from."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from st4vla.benchmarks.tabletop.assets import OBJECTS
from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.lerobot_writer import INFO, number_frames, write_annotated, write_episode, write_meta
from st4vla.benchmarks.tabletop.recording import look_at_scene, record_pick
from st4vla.benchmarks.tabletop.world import Tabletop
from st4vla.contracts.clock import NS_PER_S
from st4vla.contracts.folders import replaced_folder

CONTROL_PERIOD_NS = 50_000_000
IMAGE_SIZE = 224
#: Scenes have seeds of their own, far from those of the episodes.
SCENE_SEEDS = 1_000_000_000
BATCH = 25
TASKS = tuple(f"pick up the {name}" for name in sorted(OBJECTS))

Lines = list[dict[str, Any]]


@dataclass(frozen=True)
class Batch:
    """Episodes, or scenes, that one process makes in one go.

    Attributes:
        folder: The data set.
        scenes: Whether these are scenes.
        indices: Which of them.
        train_count: Those from this index on are held out.
        seed: Seed of index 0.
        box_every: Steps of an episode from one annotated step to the next.
    """

    folder: Path
    scenes: bool
    indices: range
    train_count: int
    seed: int
    box_every: int


@dataclass
class Made:
    """What describes a batch: lines for the files of `meta` and `annotations`, and how many things were lifted."""

    episodes: Lines = field(default_factory=list)
    stats: Lines = field(default_factory=list)
    annotations: Lines = field(default_factory=list)
    lifted: int = 0


def make_dataset(
    out: Path,
    *,
    episodes: int,
    scenes: int,
    held_out_share: float,
    box_every: int,
    seed: int,
    workers: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write a LeRobot v2.1 data set with true boxes; the same arguments give the same scenes and actions.

    Args:
        out: Folder for it; a data set that is there already is replaced when the new one is whole.
        episodes: Scripted picks.
        scenes: Further scenes, of which only pictures and boxes are kept.
        held_out_share: Share of either that is marked ``val``, the last ones.
        box_every: Steps of an episode from one annotated step to the next.
        seed: Seed of the first episode and of the first scene; each has the next one.
        workers: Processes.
        report: Called with how many episodes and scenes are done, and of how many.

    Returns:
        ``episodes``, ``frames``, ``lifted`` (episodes whose thing was lifted), ``annotated_pictures``.

    Raises:
        UsageError: `out` holds something else.
        FileNotFoundError: The robot's model is not installed.
    """
    held_out = round(episodes * held_out_share)
    made = Made()
    done = 0
    with replaced_folder(out, INFO, "a data set") as folder:
        batches = [
            Batch(folder, of_scenes, range(start, min(start + BATCH, count)), count - held, seed, box_every)
            for of_scenes, count, held in ((False, episodes, held_out), (True, scenes, round(scenes * held_out_share)))
            for start in range(0, count, BATCH)
        ]
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            futures = {pool.submit(make_batch, batch): batch for batch in batches}
            try:
                for future in as_completed(futures):
                    part = future.result()
                    made.episodes += part.episodes
                    made.stats += part.stats
                    made.annotations += part.annotations
                    made.lifted += part.lifted
                    done += len(futures[future].indices)
                    report(done, episodes + scenes)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        for lines in (made.episodes, made.stats):
            lines.sort(key=lambda line: int(line["episode_index"]))
        made.annotations.sort(key=lambda line: str(line["image"]))
        frames = 0
        for line in made.episodes:
            frames += number_frames(folder, line["episode_index"], frames)
        write_meta(
            folder,
            tasks=TASKS,
            episodes=made.episodes,
            stats=made.stats,
            annotations=made.annotations,
            held_out=held_out,
            rate_hz=NS_PER_S // CONTROL_PERIOD_NS,
            image_size=IMAGE_SIZE,
        )
    return {
        "episodes": len(made.episodes),
        "frames": frames,
        "lifted": made.lifted,
        "annotated_pictures": len(made.annotations),
    }


def make_batch(batch: Batch) -> Made:
    """Make the episodes or scenes of a batch, in one world and with one pair of cameras."""
    made = Made()
    with (
        Tabletop(control_period_ns=CONTROL_PERIOD_NS) as world,
        Cameras(world, height=IMAGE_SIZE, width=IMAGE_SIZE) as cameras,
    ):
        for index in batch.indices:
            split = "train" if index < batch.train_count else "val"
            if batch.scenes:
                scene = look_at_scene(world, cameras, SCENE_SEEDS + batch.seed + index)
                name = f"scene_{index:06d}"
                made.annotations += write_annotated(batch.folder, name, scene, episode_index=None, split=split)
                continue
            recording = record_pick(world, cameras, batch.seed + index, box_every=batch.box_every)
            task_index = TASKS.index(recording.task)
            rate_hz = NS_PER_S // CONTROL_PERIOD_NS
            made.stats.append(write_episode(batch.folder, index, recording, rate_hz, task_index))
            line = {"episode_index": index, "tasks": [recording.task], "length": len(recording.actions)}
            made.episodes.append(line)
            made.lifted += recording.lifted
            for annotated in recording.annotated:
                name = f"episode_{index:06d}"
                made.annotations += write_annotated(batch.folder, name, annotated, episode_index=index, split=split)
    return made
