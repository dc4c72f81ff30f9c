import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from mcap.reader import make_reader
from msgspec import structs

from st4vla.contracts import messages
from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.contracts.errors import PromptError, RecordingError
from st4vla.contracts.manifests import Bundle
from st4vla.contracts.messages import ActionChunk, ErrorReply, ImageEncoding, Observation, Plan, RobotState, View
from st4vla.contracts.staleness import AgeBounds, Pace, Staleness
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.chunking import FREE, ChunkingConfig, Splice
from st4vla.runtime.compiling import compile_bundle
from st4vla.runtime.core import Core
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Policy, Views
from st4vla.runtime.recording.header import header_for
from st4vla.runtime.recording.reader import RecordedCall, RecordingReader
from st4vla.runtime.recording.recording import Recording
from st4vla.runtime.replay import Replayer, ReplayReport
from st4vla.runtime.scheduler import SchedulingConfig

SIZE = 16
TINY = Path(__file__).parents[2] / "bundles/tiny"
CONFIG = SchedulingConfig(
    plan_period_ns=60 * NS_PER_MS,
    max_clients=3,
    staleness=Staleness(AgeBounds(15 * NS_PER_MS, 40 * NS_PER_MS, 0), AgeBounds(0, 400 * NS_PER_MS, 0)),
)
NAN, BROKEN, SLOW, MIDDLING = 11, 12, 13, 4


class Moody(NullPolicy):
    """Its plans and chunks depend on all that they are given; some seeds and words make it fail."""

    pause_s = 0.0

    def plan(self, views: Views, instruction: str) -> PlanTensors:
        if instruction == "bad":
            msg = "cannot be planned"
            raise PromptError(msg)
        if views.sum() % 29 == 0:
            raise ZeroDivisionError
        keys = np.array([[views.mean(), len(instruction)]], np.float32)
        return PlanTensors({"keys": keys, "values": keys * 0.1}, len(instruction.split()))

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        shift = np.float32(np.sin(plan.tensors["values"].sum() + views.mean()))
        actions = super().act(views, plan, seed, splice).actions + shift
        if seed % 20 == NAN:
            actions[2, 1] = np.nan
        if seed % 20 == BROKEN:
            raise ZeroDivisionError
        if seed % 20 in {SLOW, MIDDLING}:
            time.sleep(self.pause_s if seed % 20 == SLOW else self.pause_s / 3)
        return Acted(actions, cells_of(seed))


def cells_of(seed: int) -> np.ndarray:
    """Cells of two views, in the first of which a thing lies elsewhere each 30 frames."""
    cells = np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype(np.float32)
    row, column = divmod(seed // 30 % 12, 3)
    cells[0, 2 * row, 3 * column : 3 * column + 2] = 1
    return cells.reshape(-1, 4)


@dataclass
class Client:
    """A robot that says what it has got, so that its clock and its delay are known."""

    core: Core
    name: bytes
    jpeg: bool = False
    offset_ns: int = 0
    sequence: int = 0
    held: tuple[int, int] = (0, 0)
    chunks: list[ActionChunk] = field(default_factory=list)
    errors: list[ErrorReply] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)

    def send(self, rng: np.random.Generator, **fields: Any) -> None:
        self.sequence += 1
        now_ns = monotonic_ns()
        bright = 200 * (self.sequence // 8 % 2)
        pixels = rng.integers(bright, bright + 50, (SIZE, SIZE, 3)).astype(np.uint8)
        here_ns = now_ns + self.offset_ns
        views = tuple(self._view(name, pixels, here_ns) for name in ("wrist", "agentview"))
        held_chunk_id, held_received_ns = self.held
        given = {"instruction": "lift the cube", "seed": self.sequence} | fields
        observation = Observation(
            self.sequence,
            views,
            held_chunk_id=held_chunk_id,
            held_received_ns=held_received_ns,
            sent_ns=here_ns,
            **given,
        )
        self.core.submit(self.name, observation, now_ns, self._take)

    def _view(self, name: str, pixels: np.ndarray, capture_ns: int) -> View:
        if not self.jpeg:
            return View.from_pixels(name, pixels, capture_ns)
        data = np.frombuffer(simplejpeg.encode_jpeg(pixels), np.uint8)
        return View(name, capture_ns, SIZE, SIZE, ImageEncoding.JPEG, data)

    def _take(self, message: messages.Message) -> None:
        if isinstance(message, ActionChunk):
            self.chunks.append(message)
            self.held = (message.chunk_id, monotonic_ns() + self.offset_ns)
        elif isinstance(message, ErrorReply):
            self.errors.append(message)
        elif isinstance(message, Plan):
            self.plans.append(message)


STATE = RobotState(5, np.linspace(0, 1, 7), np.zeros(7), np.eye(4), 0.04)
WANTED = (
    *("plans_first", "plans_instruction", "plans_period", "plans_request", "plans_change", "changes"),
    *("chunks_late", "chunks_stale", "frames_superseded", "refused_too_many_clients", "refused_unsafe_output"),
    *("refused_internal", "refused_observation"),
)


def run_session(core: Core) -> list[Client]:
    """Stream until everything that a scheduler knows has happened."""
    rng = np.random.default_rng(5)
    clients = [
        Client(core, b"zmq:\0a"),
        Client(core, b"zmq:\0b", jpeg=True, offset_ns=10**15),
        Client(core, b"zmq:\0c", offset_ns=-(10**12)),
    ]
    deadline = time.monotonic() + 20
    for step in range(10**6):
        first, second, third = clients
        first.send(rng, deadline_ns=step % 9 == 0, wants_plans=True, fresh=step % 30 == 29)
        second.send(rng, instruction="put it down" if step // 15 % 2 else "lift", replan=step % 25 == 24)
        third.send(rng, instruction="bad" if step % 40 > 35 else "lift it", robot_state=STATE)
        if step % 50 == 20:
            core.leave(third.name)
            Client(core, b"zmq:d").send(rng)
        if step % 50 == 21:
            Client(core, b"zmq:e").send(rng)
        if step % 50 == 22:
            core.leave(b"zmq:d")
        time.sleep(0.004)
        chunks = [chunk for client in clients for chunk in client.chunks]
        seen = {Pace.SLOW} <= {chunk.pace for chunk in chunks} and any(chunk.frozen_steps for chunk in chunks)
        if step > 80 and seen and all(core.counts[name] for name in WANTED):
            return clients
        assert time.monotonic() < deadline, {name: core.counts[name] for name in WANTED}
    return clients


@pytest.fixture(scope="module")
def policy() -> Moody:
    return Moody(image_size=SIZE)


def record(path: Path, policy: Policy, config: SchedulingConfig, run: Callable[[Core], Any]) -> Any:
    with Recording(path, header_for(policy.info, config)) as recording:
        core = Core(policy, config, recording)
        core.start()
        gave = run(core)
        core.stop()
    assert recording.failed is None
    return gave


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Client]]:
    path = tmp_path_factory.mktemp("session") / "run.mcap"
    live = Moody(image_size=SIZE)
    live.pause_s = 0.05
    return path, record(path, live, CONFIG, run_session)


def replay(path: Path, policy: Policy, **options: Any) -> ReplayReport:
    return Replayer(RecordingReader(path), policy, **options).run()


def test_every_chunk_of_a_session_with_all_its_troubles_is_the_same(
    session: tuple[Path, list[Client]], policy: Moody
) -> None:
    path, clients = session
    report = replay(path, policy)
    assert report.sentences == []
    assert report.differences == 0
    assert report.end is not None
    assert report.end.cut == ""
    assert report.end.calls == sum(report.calls.values())
    assert report.chunks_unseen == 0
    assert report.chunks >= sum(len(client.chunks) for client in clients) > 30
    assert report.plans > 10
    assert report.failures == report.failures_again > 0
    assert set(report.calls) == {
        *("admit", "submit", "leave", "take_act_job", "finish_act", "fail_act"),
        *("take_plan_job", "finish_plan", "fail_plan", "expire", "close"),
    }


def test_what_clients_got_is_what_the_recording_shows(session: tuple[Path, list[Client]]) -> None:
    path, clients = session
    counted: dict[str, int] = defaultdict(int)
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        for schema, channel, _ in reader.iter_messages():
            assert schema is not None
            counted[f"{channel.topic.split('/')[-1]} {schema.name}"] += 1
    first, second, third = clients
    assert counted["plans st4vla.Plan"] == len(first.plans) > 0
    assert counted["errors st4vla.ErrorReply"] >= sum(len(client.errors) for client in clients) > 0
    assert counted["jpeg foxglove.CompressedImage"] == 2 * second.sequence
    assert 0 < counted["robot_state st4vla.RobotState"] <= third.sequence
    chunks = {event.chunk_id: event for event in RecordingReader(path).events() if not isinstance(event, RecordedCall)}
    for chunk in first.chunks:
        shown = chunks[chunk.chunk_id]
        assert shown.actions.tobytes() == chunk.actions.tobytes()
        assert (shown.observation_sequence, shown.seed, shown.pace) == (
            chunk.observation_sequence,
            chunk.seed,
            chunk.pace.name,
        )


def test_observations_come_back_as_they_came(tmp_path: Path, policy: Moody) -> None:
    sent = []

    def run(core: Core) -> None:
        client = Client(core, b"a", jpeg=True)
        submit = core.scheduler.submit

        def keep(identity: bytes, frame: Any) -> None:
            sent.append(frame.observation)
            submit(identity, frame)

        core.scheduler.submit = keep  # type: ignore[method-assign]
        client.send(
            np.random.default_rng(0), robot_state=STATE, seed=2**64 - 1, replan=True, fresh=True, deadline_ns=10**12
        )

    record(tmp_path / "run.mcap", policy, CONFIG, run)
    events = RecordingReader(tmp_path / "run.mcap").events()
    (back,) = [event.observation for event in events if isinstance(event, RecordedCall) and event.observation]
    state, was = back.robot_state, sent[0].robot_state
    assert state is not None
    assert state.base_T_ee.tolist() == was.base_T_ee.tolist()
    assert state.joint_positions_rad.tolist() == was.joint_positions_rad.tolist()
    assert [view.data.tobytes() for view in back.views] == [view.data.tobytes() for view in sent[0].views]
    plain = {"views": (), "robot_state": None}
    assert structs.replace(back, **plain) == structs.replace(sent[0], **plain)


@pytest.mark.parametrize("mode", ["ensemble", "replace"])
@pytest.mark.parametrize("synchronous", [False, True])
def test_other_ways_of_scheduling_replay_too(tmp_path: Path, policy: Moody, mode: Any, synchronous: bool) -> None:
    config = SchedulingConfig(
        plan_period_ns=20 * NS_PER_MS, synchronous=synchronous, chunking=ChunkingConfig(mode=mode)
    )

    def run(core: Core) -> None:
        rng, client = np.random.default_rng(0), Client(core, b"a")
        while len(client.chunks) < 25:
            client.send(rng, seed=1)
            time.sleep(0.002)

    record(tmp_path / "run.mcap", policy, config, run)
    report = replay(tmp_path / "run.mcap", policy)
    assert report.sentences == []
    assert report.chunks >= 25


def test_another_bundle_is_refused_by_name(session: tuple[Path, list[Client]], policy: Moody) -> None:
    path, _ = session
    other = Moody(image_size=SIZE)
    other.info = replace(policy.info, name="other", digest=bytes([1] * 32))
    with pytest.raises(RecordingError, match=r"with the bundle 'null' of digest 0000.*this is 'other' of digest 0101"):
        Replayer(RecordingReader(path), other)


class Elsewhere(Moody):
    """The same policy on a device that rounds otherwise."""

    def plan(self, views: Views, instruction: str) -> PlanTensors:
        made = super().plan(views, instruction)
        return PlanTensors(
            {name: array * np.float32(1 + 1e-6) for name, array in made.tensors.items()}, made.token_count
        )

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        acted = super().act(views, plan, seed, splice)
        assert acted.cells is not None
        return Acted(acted.actions + np.float32(1e-5), acted.cells * np.float32(1 + 1e-6))


def test_another_device_replays_within_a_tolerance_and_not_without(
    session: tuple[Path, list[Client]], policy: Moody
) -> None:
    path, _ = session
    elsewhere = Elsewhere(image_size=SIZE)
    assert "digest of a tensor of the plan" in replay(path, elsewhere).sentences[0]
    report = replay(path, elsewhere, tolerance=1e-3)
    assert report.sentences == []
    assert report.chunks == replay(path, policy).chunks
    assert 1e-5 < report.largest < 1e-3
    strict = replay(path, elsewhere, tolerance=1e-7, keep_going=True)
    assert strict.differences > report.chunks / 2
    assert len(strict.sentences) == 20


def test_the_engines_of_a_bundle_give_every_chunk_again(tmp_path: Path) -> None:
    bundle, backend = Bundle(TINY), OnnxRuntimeBackend()
    fingerprint = this_device().fingerprint(backend)
    engines = compile_bundle(bundle, backend, fingerprint, tmp_path / "engines")

    def open_policy() -> BundlePolicy:
        return BundlePolicy(bundle, engines, tmp_path / "engines", backend, system1_threads=1, system2_threads=1)

    def run(core: Core) -> None:
        rng = np.random.default_rng(0)
        given: list[messages.Message] = []
        for sequence in range(1, 1000):
            now_ns = monotonic_ns()
            pixels = rng.integers(0, 255, (2, 224, 224, 3), np.uint8)
            names = ("agentview", "wrist")
            views = tuple(View.from_pixels(name, each, now_ns) for name, each in zip(names, pixels, strict=True))
            instruction = "lift the cube" if sequence < 20 else "put it down"
            observation = Observation(sequence, views, instruction, seed=sequence, sent_ns=now_ns)
            assert core.submit(b"a", observation, now_ns, given.append) is None
            time.sleep(0.01)
            if sequence > 40 and len(given) > 10:
                return

    with open_policy() as policy:
        record(tmp_path / "run.mcap", policy, SchedulingConfig(plan_period_ns=100 * NS_PER_MS), run)
    with open_policy() as policy:
        report = replay(tmp_path / "run.mcap", policy)
    assert report.sentences == []
    assert report.chunks > 10
    assert report.plans >= 2
