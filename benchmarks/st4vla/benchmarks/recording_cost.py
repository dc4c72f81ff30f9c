"""What recording a session costs the process that serves: CPU, bytes on disk, and the age of chunks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from mcap.writer import CompressionType

from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.contracts.messages import ActionChunk, Message, Observation, View
from st4vla.runtime.core import Core
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.recording.header import header_for
from st4vla.runtime.recording.recording import Recording
from st4vla.runtime.scheduler import SchedulingConfig

Pixels = npt.NDArray[np.uint8]

#: Ways to record, by name; None: not at all.
WAYS: dict[str, CompressionType | None] = {
    "not recorded": None,
    "uncompressed": CompressionType.NONE,
    "lz4": CompressionType.LZ4,
    "zstd": CompressionType.ZSTD,
}
HEADER = ("recording", "CPU % of a core", "MB/s on disk", "submit us (p50)", "chunk age ms (p50)", "chunk age ms (p99)")


class RecordingCost(msgspec.Struct, frozen=True):
    """What was measured of one way.

    Attributes:
        way: One of `WAYS`.
        cpu_percent: CPU time of the whole process, 100 for one core all the time.
        written_mb_s: Megabytes written to disk a second.
        submit_us: Median time that handing an observation to the core takes.
        age_ms: Ages of chunks as they went out, half of them below and 99 % below.
        failed: Why the recording ended before its time, or None.
    """

    way: str
    cpu_percent: float
    written_mb_s: float
    submit_us: float
    age_ms: tuple[float, float]
    failed: str | None

    def row(self) -> tuple[str, float, float, float, float, float]:
        """Return it as a row under `HEADER`."""
        return (self.way, self.cpu_percent, self.written_mb_s, self.submit_us, *self.age_ms)


def measure_way(way: str, pictures: Sequence[Pixels], folder: Path, *, hz: float, seconds: float) -> RecordingCost:
    """Stream two raw views to a policy that thinks nothing, and record it one way.

    Args:
        way: One of `WAYS`.
        pictures: Views uint8 [S, S, 3], shown in turn.
        folder: Where to write a file, which is deleted.
        hz: Frames a second.
        seconds: How long.
    """
    policy, config, compression = NullPolicy(0.05, 0.01, image_size=len(pictures[0])), SchedulingConfig(), WAYS[way]
    path = folder / "cost.mcap"
    recording = None
    if compression is not None:
        recording = Recording(path, header_for(policy.info, config), compression=compression)
    core = Core(policy, config, recording)
    core.start()
    ages: list[float] = []
    submits: list[float] = []

    def deliver(message: Message) -> None:
        if isinstance(message, ActionChunk):
            ages.append(message.frame_age_ns / NS_PER_MS)

    began_s, cpu_s = time.perf_counter(), time.process_time()
    for sequence in range(1, round(hz * seconds) + 1):
        now_ns = monotonic_ns()
        views = tuple(
            View.from_pixels(view.name, pictures[(2 * sequence + index) % len(pictures)], now_ns)
            for index, view in enumerate(policy.info.views)
        )
        observation = Observation(sequence, views, "lift the cube", seed=sequence, sent_ns=now_ns)
        submit_s = time.perf_counter()
        core.submit(b"bench", observation, now_ns, deliver)
        submits.append((time.perf_counter() - submit_s) * 1e6)
        time.sleep(max(0.0, began_s + sequence / hz - time.perf_counter()))
    core.stop()
    if recording is not None:
        recording.close()
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    path.unlink(missing_ok=True)
    return RecordingCost(
        way=way,
        cpu_percent=100 * cpu_s / took_s,
        written_mb_s=(recording.written_bytes if recording else 0) / took_s / 1e6,
        submit_us=statistics.median(submits),
        age_ms=(float(np.percentile(ages, 50)), float(np.percentile(ages, 99))),
        failed=recording.failed if recording else None,
    )
