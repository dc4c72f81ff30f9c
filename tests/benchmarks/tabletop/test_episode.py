from collections.abc import Iterator

import numpy as np
import pytest

from st4vla.benchmarks.tabletop.cameras import Cameras
from st4vla.benchmarks.tabletop.episode import run_episode
from st4vla.benchmarks.tabletop.summary import summarise
from st4vla.benchmarks.tabletop.world import Tabletop
from st4vla.contracts.errors import ObservationError
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.client import Client
from st4vla.runtime.core import Core
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Views
from st4vla.runtime.server import Server


class Forward(NullPolicy):
    """Drives the hand 4 mm a period along x."""

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        super().act(views, plan, seed, splice)
        actions = np.zeros((self.horizon, 7), np.float32)
        actions[:, 0], actions[:, 6] = 0.004, 1.0
        return Acted(actions)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(Core(Forward()), "tcp://127.0.0.1:*")
    running.start()
    yield running
    running.stop()


def test_chunks_of_a_server_drive_the_arm(server: Server) -> None:
    with Tabletop(seed=1) as world, Cameras(world) as cameras, Client(server.endpoint) as client:
        before = world.base_T_ee[0, 3]
        episode = run_episode(client, world, cameras, "go", ticks=30, record=True)
        after = world.base_T_ee[0, 3]
    assert after - before > 0.05
    assert len(episode.ticks) == len(episode.frames) == 30
    figures = summarise(episode, deadline_ms=200.0, warm_up_s=0.25)
    assert figures["control_ticks"] == 30
    assert figures["chunks"] > 10
    assert figures["errors"] == 0
    assert figures["frame_to_action_ms"]["p50"] > 0


def test_an_arm_without_chunks_holds_still(server: Server) -> None:
    with Tabletop(seed=1) as world, Cameras(world) as cameras, Client(server.endpoint) as client:
        before = world.base_T_ee
        client.send = lambda _: False  # type: ignore[method-assign]
        episode = run_episode(client, world, cameras, "go", ticks=10)
        np.testing.assert_allclose(world.base_T_ee[:3, 3], before[:3, 3], atol=0.002)
    figures = summarise(episode, deadline_ms=200.0, warm_up_s=0.0)
    assert (figures["ticks_held"], figures["frames_dropped"], figures["frames_sent"]) == (10, 10, 0)
    assert figures["frame_to_action_ms"]["p50"] is None


def test_a_policy_for_other_cameras_is_refused(server: Server) -> None:
    with (
        Tabletop(seed=1) as world,
        Cameras(world, height=112, width=112) as cameras,
        Client(server.endpoint) as client,
        pytest.raises(ObservationError, match=r"wants the views .* the tabletop has"),
    ):
        run_episode(client, world, cameras, "go", ticks=1)
