import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from st4vla.benchmarks.whole_way.frame_memory import FrameMemory
from st4vla.contracts.clock import monotonic_ns
from st4vla.runtime.bridge.link import Camera, Link
from st4vla.runtime.bridge.player import NativePlayer, PlayerConfig
from st4vla.runtime.core import Core
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Views
from st4vla.runtime.server import Server


class Looking(NullPolicy):
    """Keeps what it was shown last."""

    seen: Views | None = None

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: object = None) -> Acted:
        self.seen = np.array(views)
        return super().act(views, plan, seed)


@pytest.fixture
def policy() -> Looking:
    return Looking()


@pytest.fixture
def server(policy: Looking) -> Iterator[Server]:
    server = Server(Core(policy), "tcp://127.0.0.1:*")
    server.start()
    yield server
    server.stop()


def test_pictures_reach_a_policy_as_they_were_written(policy: Looking, server: Server, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    paths = [tmp_path / name for name in ("agentview", "wrist")]
    cameras = [Camera(path.name, "memory", str(path)) for path in paths]
    with FrameMemory(paths[0], 224, 224) as first, FrameMemory(paths[1], 224, 224) as second:
        player = NativePlayer(PlayerConfig.default())
        with Link(server.endpoint, cameras, player, "lift") as link:
            deadline = time.monotonic() + 10
            while policy.seen is None or not (policy.seen == pictures).all():
                assert time.monotonic() < deadline, link.counts()
                for memory, picture in zip((first, second), pictures, strict=True):
                    memory.write(picture, monotonic_ns())
                time.sleep(0.01)
    assert not any(path.exists() for path in paths)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with FrameMemory(tmp_path / "a", 4, 8) as memory:
        with pytest.raises(ValueError, match="at most"):
            memory.write(np.zeros((224, 224, 3), np.uint8), 0)
        with pytest.raises(ValueError, match="uint8"):
            memory.write(np.zeros((4, 8, 3), np.float32), 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 to"):
        FrameMemory(tmp_path / "b", 0, 8)
