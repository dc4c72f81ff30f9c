"""A core that answers from a thread of its own, with the seed's noise; what it was asked is kept."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from st4vla.contracts.messages import (
    ActionChunk,
    ErrorCode,
    ErrorReply,
    Message,
    Observation,
    Plan,
    PlanReason,
    View,
    Welcome,
    WelcomeView,
)
from st4vla.runtime.doors.door import Deliver
from st4vla.runtime.noise import seeded_noise
from st4vla.runtime.policy import NullPolicy, PolicyInfo

SIZE = 8
GOLDEN = Path(__file__).parents[2] / "data" / "doors"


@dataclass
class NullCore:
    """A core without engines.

    Attributes:
        think_s: How long an answer takes; an instruction of "hang" gets none.
        max_clients: How many clients have a place.
        asked: Every client and observation so far.
        clients: Who has a place.
        left: Who gave one back.
    """

    info: PolicyInfo = field(default_factory=lambda: NullPolicy(image_size=SIZE, horizon=4).info)
    think_s: float = 0.0
    max_clients: int = 8
    asked: list[tuple[bytes, Observation]] = field(default_factory=list)
    clients: set[bytes] = field(default_factory=set)
    left: list[bytes] = field(default_factory=list)

    def welcome(self) -> Welcome:
        views = tuple(WelcomeView(view.name, view.height, view.width) for view in self.info.views)
        action = self.info.action
        return Welcome(
            self.info.name,
            self.info.digest,
            views,
            action.horizon,
            action.dim,
            action.gripper_index,
            action.representation,
            action.period_ns,
        )

    def submit(self, client: bytes, observation: Observation, received_ns: int, deliver: Deliver) -> ErrorReply | None:
        if client not in self.clients and len(self.clients) >= self.max_clients:
            return ErrorReply(ErrorCode.TOO_MANY_CLIENTS, "all places are taken", observation.sequence)
        self.clients.add(client)
        self.asked.append((client, observation))
        threading.Thread(target=self._answer, args=(observation, received_ns, deliver), daemon=True).start()
        return None

    def leave(self, client: bytes) -> None:
        if client in self.clients:
            self.clients.remove(client)
            self.left.append(client)

    def chunk_of(self, observation: Observation, received_ns: int = 0) -> ActionChunk:
        action = self.info.action
        actions = seeded_noise(observation.seed, action.horizon, action.dim)[0]
        actions[:, 6] = observation.seed % 2
        return ActionChunk(
            chunk_id=1,
            actions=actions,
            period_ns=action.period_ns,
            representation=action.representation,
            gripper_index=action.gripper_index,
            observation_sequence=observation.sequence,
            observation_sent_ns=observation.sent_ns,
            frame_capture_ns=observation.capture_ns,
            start_ns=observation.capture_ns,
            plan_id=1,
            plan_capture_ns=observation.capture_ns,
            seed=observation.seed,
            received_ns=received_ns,
            inference_ns=2_000_000,
        )

    def _answer(self, observation: Observation, received_ns: int, deliver: Deliver) -> None:
        time.sleep(self.think_s)
        if observation.instruction == "hang":
            return
        # What is not the answer: a notice, and a chunk of an observation that nobody waits for.
        deliver(Plan(1, observation.sequence, observation.capture_ns, 1, 3, PlanReason.FIRST))
        stale = self.chunk_of(Observation(observation.sequence - 1, observation.views, "old", seed=99))
        deliver(stale)
        deliver(self._last_word(observation, received_ns))

    def _last_word(self, observation: Observation, received_ns: int) -> Message:
        if observation.instruction == "fail":
            return ErrorReply(ErrorCode.ENGINE, "the engine failed", observation.sequence)
        return self.chunk_of(observation, received_ns)


@pytest.fixture
def core() -> NullCore:
    return NullCore()


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of the bundle's size that can be told apart."""
    first = np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(SIZE, SIZE, 3)
    return first, first[::-1].copy()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until something is so, and fail when it is not within five seconds."""

    def wait(is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    return wait


@pytest.fixture
def golden() -> Callable[[str], bytes]:
    """Read what an original client said or understood; see tests/data/doors."""
    return lambda name: (GOLDEN / f"{name}.bin").read_bytes()


@pytest.fixture
def golden_chunk(core: NullCore, pictures: tuple[np.ndarray, np.ndarray]) -> ActionChunk:
    """The chunk behind the golden replies."""
    views = tuple(
        View.from_pixels(spec.name, picture, 1) for spec, picture in zip(core.info.views, pictures, strict=True)
    )
    actions = np.arange(28, dtype=np.float32).reshape(4, 7) / 8
    actions[:, 6] = [1, 0, 1, 0]
    return replace(core.chunk_of(Observation(1, views, "lift")), actions=actions)
