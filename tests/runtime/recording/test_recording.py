import errno
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import RecordingError, StorageError
from st4vla.contracts.messages import ActionChunk, ErrorReply, Message, Observation, View
from st4vla.runtime.core import Core
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.recording.header import header_for, recording_path
from st4vla.runtime.recording.journal import Note
from st4vla.runtime.recording.reader import RecordedCall, RecordingReader
from st4vla.runtime.recording.recording import Recording
from st4vla.runtime.replay import Replayer
from st4vla.runtime.scheduler import SchedulingConfig

SIZE = 128
CONFIG = SchedulingConfig(max_clients=2)


class Robot:
    """A client that sends noise, which no compression makes small, and waits for what comes of it."""

    def __init__(self, core: Core, name: bytes = b"robot") -> None:
        self._core, self._name = core, name
        self._arrived = threading.Event()
        self._sequence = 0
        self._rng = np.random.default_rng(0)
        self.chunks = 0

    def step(self) -> None:
        """Send a frame and wait for its chunk."""
        self._sequence += 1
        self._arrived.clear()
        pixels = self._rng.integers(0, 255, (2, SIZE, SIZE, 3), np.uint8)
        now_ns = monotonic_ns()
        names = ("agentview", "wrist")
        views = tuple(View.from_pixels(name, one, now_ns) for name, one in zip(names, pixels, strict=True))
        observation = Observation(self._sequence, views, "lift", seed=self._sequence, sent_ns=now_ns)
        assert self._core.submit(self._name, observation, now_ns, self._take) is None
        assert self._arrived.wait(5), "service must go on"

    def _take(self, message: Message) -> None:
        assert not isinstance(message, ErrorReply), message
        if isinstance(message, ActionChunk):
            self.chunks += 1
            self._arrived.set()


def steps_until(robot: Robot, done: Callable[[], bool], most: int = 2000) -> None:
    for _ in range(most):
        robot.step()
        if done():
            return
    pytest.fail("it did not come to that")


@pytest.fixture
def policy() -> NullPolicy:
    return NullPolicy(image_size=SIZE)


def recorded(path: Path, policy: NullPolicy, **options: object) -> tuple[Recording, Core]:
    recording = Recording(path, header_for(policy.info, CONFIG), **options)  # type: ignore[arg-type]
    core = Core(policy, CONFIG, recording)
    core.start()
    return recording, core


def replay_ends_with(path: Path, policy: NullPolicy, cut: str) -> int:
    """Check that a file is valid and says why it was cut, and that all in it replays; return how many chunks."""
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert sum(1 for _ in reader.iter_messages()) == summary.statistics.message_count > 0
    report = Replayer(RecordingReader(path), policy).run()
    assert report.differences == 0, report.sentences
    assert report.end is not None
    assert cut in report.end.cut
    assert report.end.calls == sum(report.calls.values())
    return report.chunks


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Eight megabytes that can be full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("no mount here")
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=8m", "none", folder], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run([umount, folder], check=True)


def test_on_a_disk_that_is_really_full_the_file_ends_well_and_service_goes_on(
    tiny_disk: Path, policy: NullPolicy
) -> None:
    path = tiny_disk / "run.mcap"
    recording, core = recorded(path, policy)
    robot = Robot(core)
    steps_until(robot, lambda: recording.failed is not None)
    lost, chunks = recording.lost, robot.chunks
    for _ in range(5):
        robot.step()
    core.stop()
    recording.close()
    assert robot.chunks == chunks + 5
    assert recording.failed == "the disk is full: No space left on device"
    assert "is not recorded any more (the disk is full" in (recording.why_failed() or "")
    assert recording.lost > lost
    assert path.stat().st_size > 2 << 20
    assert 0 < replay_ends_with(path, policy, "the disk is full") < robot.chunks


class Disk:
    """Takes `capacity` bytes; then it fails, once or for good."""

    def __init__(self, capacity: int, error: int, *, again: bool) -> None:
        self._left, self._error, self._again = capacity, error, again
        self._failing = False

    def write(self, descriptor: int, data: memoryview) -> int:
        if not self._failing and self._left >= len(data):
            self._left -= len(data)
            return os.write(descriptor, data)
        if not self._failing and self._left:
            part, self._left = data[: self._left], 0
            return os.write(descriptor, part)
        if not self._failing or self._again:
            self._failing = True
            raise OSError(self._error, os.strerror(self._error))
        return os.write(descriptor, data)


def test_the_space_that_was_set_aside_takes_the_end_of_the_file(tmp_path: Path, policy: NullPolicy) -> None:
    path = tmp_path / "run.mcap"
    # Full once, in the middle of a chunk; what is let go then is room for the rest.
    disk = Disk(3_000_000, errno.ENOSPC, again=False)
    recording, core = recorded(path, policy, write=disk.write)
    robot = Robot(core)
    steps_until(robot, lambda: recording.failed is not None)
    core.stop()
    recording.close()
    assert recording.failed == "the disk is full: No space left on device"
    assert 0 < replay_ends_with(path, policy, "the disk is full") < robot.chunks


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_for_good_costs_the_recording_and_nothing_else(
    tmp_path: Path, policy: NullPolicy, error: int
) -> None:
    path = tmp_path / "run.mcap"
    disk = Disk(3_000_000, error, again=True)
    recording, core = recorded(path, policy, write=disk.write)
    robot = Robot(core)
    steps_until(robot, lambda: recording.failed is not None)
    for _ in range(3):
        robot.step()
    core.stop()
    recording.close()
    assert recording.failed is not None
    assert os.strerror(error) in recording.failed
    assert recording.lost > 0
    report = Replayer(RecordingReader(path), policy).run()
    assert report.end is None
    assert report.differences == 0
    assert 0 < report.chunks < robot.chunks


def test_a_disk_that_is_too_slow_ends_the_recording_and_holds_nobody_up(tmp_path: Path, policy: NullPolicy) -> None:
    path, gate = tmp_path / "run.mcap", threading.Event()
    gate.set()

    def slowly(descriptor: int, data: memoryview) -> int:
        gate.wait()
        return os.write(descriptor, data)

    recording, core = recorded(path, policy, write=slowly, waiting_bytes=2_000_000)
    robot = Robot(core)
    robot.step()
    gate.clear()
    steps_until(robot, lambda: recording.failed is not None)
    assert recording.waiting_bytes <= 2_000_000
    robot.step()
    gate.set()
    core.stop()
    recording.close()
    assert recording.failed is not None
    assert recording.failed.startswith("the disk is too slow: ")
    assert 0 < replay_ends_with(path, policy, "the disk is too slow") < robot.chunks


def test_a_recording_ends_at_its_limit(tmp_path: Path, policy: NullPolicy) -> None:
    path = tmp_path / "run.mcap"
    recording, core = recorded(path, policy, limit_bytes=3_000_000)
    robot = Robot(core)
    steps_until(robot, lambda: recording.limited)
    robot.step()
    core.stop()
    recording.close()
    assert recording.lost > 0
    assert recording.why_failed() is None, "it was asked for"
    assert recording.written_bytes == path.stat().st_size > 3_000_000
    assert replay_ends_with(path, policy, "its limit of 0.003 GB") > 0


def test_a_whole_recording_lies_in_the_file_once_under_the_names_of_its_client(
    tmp_path: Path, policy: NullPolicy
) -> None:
    path = tmp_path / "new" / "run.mcap"
    recording, core = recorded(path, policy)
    robots = [Robot(core, name) for name in (b"a", b"b")]
    for _ in range(10):
        for robot in robots:
            robot.step()
    core.stop()
    recording.close()
    recording.note(Note(1, "close", 0))
    assert recording.failed is None
    assert recording.lost == 1, "what comes after the end is counted"
    assert replay_ends_with(path, policy, "") == 20
    pixels = 2 * 10 * 2 * SIZE * SIZE * 3
    assert pixels < path.stat().st_size < 1.1 * pixels
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    found = {channel.topic: summary.schemas[channel.schema_id].name for channel in summary.channels.values()}
    for client in (1, 2):
        assert found[f"/clients/{client}/views/wrist"] == "foxglove.RawImage"
        assert found[f"/clients/{client}/chunks"] == "st4vla.ActionChunk"
    assert found["/journal"] == "st4vla.Call"
    header = RecordingReader(path).header
    began_ns = summary.statistics.message_start_time if summary.statistics else 0
    first = next(event for event in RecordingReader(path).events() if isinstance(event, RecordedCall))
    assert first.call.time_ns - header.clock_monotonic_ns == began_ns - header.clock_wall_ns


def test_a_recording_never_replaces_a_file(tmp_path: Path, policy: NullPolicy) -> None:
    path = tmp_path / "run.mcap"
    path.write_bytes(b"mine")
    with pytest.raises(StorageError, match="is there already"):
        Recording(path, header_for(policy.info, CONFIG))
    assert path.read_bytes() == b"mine"
    with pytest.raises(StorageError, match="cannot record to"):
        Recording(path / "below.mcap", header_for(policy.info, CONFIG))


def test_a_folder_gets_one_file_a_run(tmp_path: Path) -> None:
    assert recording_path(tmp_path / "x.mcap", "tiny") == tmp_path / "x.mcap"
    first, second = (recording_path(tmp_path, "tiny") for _ in range(2) if time.sleep(0.002) is None)
    assert first != second
    assert first.parent == tmp_path
    assert first.name.startswith("tiny-20")


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mcap"
    with pytest.raises(RecordingError, match="cannot be read: No such file"):
        RecordingReader(path)
    for data, match in ((b"hello", "is no MCAP file"), (b"\x89MCAP0\r\n", "is no recording of")):
        path.write_bytes(data)
        with pytest.raises(RecordingError, match=match):
            RecordingReader(path)
