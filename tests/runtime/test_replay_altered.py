"""Recordings that somebody altered, that were cut off, or whose recorder was killed: what replay says of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crc32c import crc32c
from mcap.reader import make_reader
from mcap.records import Channel, Message, Metadata, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.contracts.errors import RecordingError
from st4vla.contracts.messages import ActionChunk, Observation, View
from st4vla.contracts.staleness import AgeBounds, Staleness
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.core import Core
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Policy, Views
from st4vla.runtime.recording.header import header_for
from st4vla.runtime.recording.reader import RecordedCall, RecordingReader
from st4vla.runtime.recording.recording import Recording
from st4vla.runtime.recording.records import CALL, RAW_IMAGE, Call
from st4vla.runtime.replay import Replayer, ReplayReport
from st4vla.runtime.scheduler import SchedulingConfig

SIZE = 16
CONFIG = SchedulingConfig(
    plan_period_ns=60 * NS_PER_MS,
    max_clients=2,
    staleness=Staleness(AgeBounds(0, 40 * NS_PER_MS, 0), AgeBounds(0, 400 * NS_PER_MS, 0)),
)


class Seeing(NullPolicy):
    """Its chunks depend on the pictures; some come too late."""

    pause_s = 0.0

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        time.sleep(self.pause_s if seed % 20 == 13 else 0.0)
        shift = np.float32(np.sin(float(views.mean())))
        return Acted(super().act(views, plan, seed, splice).actions + shift)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Seeing(image_size=SIZE)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of two clients, whom a third joins again and again."""
    path = tmp_path_factory.mktemp("session") / "run.mcap"
    live = Seeing(image_size=SIZE)
    live.pause_s = 0.06
    rng, chunks = np.random.default_rng(5), 0

    def take(message: object) -> None:
        nonlocal chunks
        chunks += isinstance(message, ActionChunk)

    with Recording(path, header_for(live.info, CONFIG)) as recording:
        core = Core(live, CONFIG, recording)
        core.start()
        deadline, sequence = time.monotonic() + 20, 0
        while chunks < 80 or not core.counts["chunks_stale"]:
            assert time.monotonic() < deadline
            sequence += 1
            now_ns = monotonic_ns()
            for name in (b"a", b"b", *((b"c",) if sequence % 20 == 10 else ())):
                pixels = rng.integers(0, 255, (2, SIZE, SIZE, 3), np.uint8)
                views = tuple(
                    View.from_pixels(view, each, now_ns)
                    for view, each in zip(("agentview", "wrist"), pixels, strict=True)
                )
                core.submit(name, Observation(sequence, views, "lift", seed=sequence, sent_ns=now_ns), now_ns, take)
            time.sleep(0.004)
        core.stop()
    assert recording.failed is None
    return path


def replay(path: Path, policy: Policy, **options: Any) -> ReplayReport:
    return Replayer(RecordingReader(path), policy, **options).run()


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Write a recording anew, each message as `change` gives it from its schema's name and bytes."""
    schemas: dict[int, Schema] = {}
    names: dict[int, str] = {}
    with source.open("rb") as stream, target.open("wb") as out:
        writer = Writer(out, compression=CompressionType.NONE)
        writer.start()
        for record in StreamReader(stream).records:
            if isinstance(record, Metadata):
                writer.add_metadata(record.name, record.metadata)
            elif isinstance(record, Schema) and record.id not in schemas:
                schemas[record.id] = record
                writer.register_schema(record.name, record.encoding, record.data)
            elif isinstance(record, Channel) and record.id not in names:
                names[record.id] = schemas[record.schema_id].name
                writer.register_channel(record.topic, record.message_encoding, record.schema_id)
            elif isinstance(record, Message):
                data = change(names[record.channel_id], record.data)
                writer.add_message(record.channel_id, record.log_time, data, record.publish_time, record.sequence)
        writer.finish()
    return target


def acted_on(path: Path) -> tuple[Call, Call]:
    """Return a submit and the end of the job that was made of it, well within a session, of a client with raw views."""
    taken: dict[int, Call] = {}
    submitted: dict[tuple[bytes, int], Call] = {}
    for event in RecordingReader(path).events():
        if not isinstance(event, RecordedCall):
            continue
        call = event.call
        if call.frame is not None:
            submitted[call.client, call.frame.sequence] = call
        elif call.name == "take_act_job":
            taken[call.number] = submitted[call.client, call.outcome.sequence]
        elif call.name == "finish_act" and call.outcome.chunk_id > 5 and call.slot == 1:
            return taken[call.job], call
    pytest.fail("no chunk")


def test_another_seed_is_found_and_named(session: Path, policy: Policy, tmp_path: Path) -> None:
    path = session
    submit, finish = acted_on(path)

    def change(schema: str, data: bytes) -> bytes:
        if schema != CALL.name:
            return data
        call = CALL.decode(data)
        if call.number != submit.number or call.frame is None:
            return data
        return CALL.encode(replace(call, frame=replace(call.frame, seed=call.frame.seed + 2000)))

    altered = rewritten(path, tmp_path / "seed.mcap", change)
    report = replay(altered, policy)
    assert submit.frame is not None
    assert report.differences == 1
    assert report.sentences[0].startswith(
        f"call {finish.number}, finish_act of client 1, frame {submit.frame.sequence}: "
        "the normalised actions that System 1 sampled differ in "
    )
    on = replay(altered, policy, keep_going=True)
    assert on.sentences[0] == report.sentences[0]
    assert on.sentences[1].endswith(
        f"seed is {submit.frame.seed} in the recording and {submit.frame.seed + 2000} in the replay"
    )
    assert on.differences == 2, "the chunks after it are judged on their own"
    assert on.chunks > report.chunks


def test_a_byte_of_a_picture_that_was_flipped_is_found_and_named(session: Path, policy: Policy, tmp_path: Path) -> None:
    path = session
    submit, finish = acted_on(path)
    assert submit.frame is not None
    seen = 0

    def flip(schema: str, data: bytes) -> bytes:
        nonlocal seen
        if schema != RAW_IMAGE.name:
            return data
        image = RAW_IMAGE.decode(data)
        if crc32c(image.data) != wrist.crc32c:
            return data
        seen += 1
        return RAW_IMAGE.encode(replace(image, data=image.data[:-1] + bytes([image.data[-1] ^ 1])))

    wrist = next(view for view in submit.frame.views if view.name == "wrist")
    altered = rewritten(path, tmp_path / "picture.mcap", flip)
    assert seen > 0
    where = (
        f"call {submit.number}: frame {submit.frame.sequence} of client 1: the picture of view 'wrist' is not the one"
    )
    with pytest.raises(RecordingError, match=where):
        replay(altered, policy)

    def agree(schema: str, data: bytes) -> bytes:
        if schema != CALL.name:
            return flip(schema, data)
        call = CALL.decode(data)
        if call.number != submit.number or call.frame is None:
            return data
        return CALL.encode(replace(call, frame=replace(call.frame, views=tuple(map(_flipped, call.frame.views)))))

    pixels = pictures(path, submit)["wrist"]
    other = crc32c(pixels[:-1] + bytes([pixels[-1] ^ 1]))

    def _flipped(view: Any) -> Any:
        return replace(view, crc32c=other) if view.crc32c == wrist.crc32c else view

    report = replay(rewritten(path, tmp_path / "agree.mcap", agree), policy)
    assert f"of client 1, frame {submit.frame.sequence}: " in report.sentences[0]
    assert report.sentences[0].startswith("call ")
    assert int(report.sentences[0].split()[1].strip(",")) <= finish.number


def pictures(path: Path, submit: Call) -> dict[str, bytes]:
    for event in RecordingReader(path).events():
        if isinstance(event, RecordedCall) and event.call.number == submit.number and event.observation is not None:
            return {view.name: view.data.tobytes() for view in event.observation.views}
    pytest.fail("no such call")


def test_a_byte_that_the_disk_flipped_is_named_by_its_place(session: Path, policy: Policy, tmp_path: Path) -> None:
    path = session
    data = bytearray(path.read_bytes())
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    chunk = summary.chunk_indexes[1]
    data[chunk.chunk_start_offset + chunk.chunk_length // 2] ^= 1
    altered = tmp_path / "run.mcap"
    altered.write_bytes(data)
    with pytest.raises(RecordingError, match=f"the chunk of messages at byte {chunk.chunk_start_offset} was altered"):
        replay(altered, policy)


def test_a_call_that_was_taken_out_is_noticed(session: Path, policy: Policy, tmp_path: Path) -> None:
    path = session

    def renumber(schema: str, data: bytes) -> bytes:
        if schema != CALL.name:
            return data
        call = CALL.decode(data)
        return CALL.encode(replace(call, number=call.number + (call.number > 50)))

    with pytest.raises(RecordingError, match="call 52 follows call 50"):
        replay(rewritten(path, tmp_path / "run.mcap", renumber), policy)


@pytest.mark.parametrize("name", ["take_act_job", "take_plan_job", "expire", "finish_act", "admit"])
def test_a_call_with_another_time_or_client_is_found(session: Path, policy: Policy, tmp_path: Path, name: str) -> None:
    path = session
    changed = 0

    def change(schema: str, data: bytes) -> bytes:
        nonlocal changed
        if schema != CALL.name:
            return data
        call = CALL.decode(data)
        useful = call.outcome.chunk_id or call.outcome.overdue or call.name != "finish_act"
        if call.name != name or changed or call.number < 60 or not useful:
            return data
        changed = call.number
        if name == "expire":
            return CALL.encode(replace(call, time_ns=call.time_ns - 10**9))
        if name == "finish_act":
            return CALL.encode(replace(call, time_ns=call.time_ns + 1))
        if name == "admit":
            return CALL.encode(replace(call, outcome=replace(call.outcome, accepted=not call.outcome.accepted)))
        return CALL.encode(replace(call, outcome=replace(call.outcome, sequence=call.outcome.sequence + 1)))

    report = replay(rewritten(path, tmp_path / "run.mcap", change), policy)
    assert report.differences == 1
    assert report.sentences[0].startswith(f"call {changed}, {name}")


def test_a_file_that_was_cut_off_replays_up_to_its_end(session: Path, policy: Policy, tmp_path: Path) -> None:
    path = session
    data, whole, before = path.read_bytes(), replay(path, policy).chunks, 0
    for share in (0.3, 0.6, 0.9):
        cut = tmp_path / f"{share}.mcap"
        cut.write_bytes(data[: int(len(data) * share)])
        report = replay(cut, policy)
        assert report.differences == 0
        assert report.end is None
        assert before <= report.chunks < whole
        before = report.chunks
    assert before > 0


RECORDER = """
import sys, time, threading
import numpy as np
from pathlib import Path
from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.messages import Observation, View
from st4vla.runtime.core import Core
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.recording.header import header_for
from st4vla.runtime.recording.recording import Recording
from st4vla.runtime.scheduler import SchedulingConfig

policy = NullPolicy(image_size=16)
core = Core(policy, SchedulingConfig(), Recording(Path(sys.argv[1]), header_for(policy.info, SchedulingConfig())))
core.start()
rng = np.random.default_rng(0)
for sequence in range(1, 10**6):
    now = monotonic_ns()
    pixels = rng.integers(0, 255, (16, 16, 3), np.uint8)
    views = tuple(View.from_pixels(name, pixels, now) for name in ("agentview", "wrist"))
    core.submit(b"a", Observation(sequence, views, "lift", seed=sequence, sent_ns=now), now, lambda _: None)
    time.sleep(0.002)
"""


def test_a_recorder_that_was_killed_leaves_what_it_had_written(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    with subprocess.Popen([sys.executable, "-c", RECORDER, str(path)], env=os.environ) as recorder:
        deadline = time.monotonic() + 20
        while (not path.exists() or path.stat().st_size < 200_000) and time.monotonic() < deadline:
            time.sleep(0.02)
        recorder.send_signal(signal.SIGKILL)
        recorder.wait(10)
    report = replay(path, NullPolicy(image_size=16))
    assert report.sentences == []
    assert report.end is None
    assert report.chunks > 20
    assert list(tmp_path.iterdir()) == [path], "nothing stays beside it"
