import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from st4vla.contracts.errors import TransportError
from st4vla.runtime.bridge.link import Camera, Link
from st4vla.runtime.bridge.player import NativePlayer, PlayerConfig
from st4vla.runtime.core import Core
from st4vla.runtime.local.door import open_local
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.server import Server

CAMERAS = [Camera(name, "pattern", "", 224, 224, 50.0) for name in ("agentview", "wrist")]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(Core(NullPolicy()), "tcp://127.0.0.1:*")
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("way", ["tcp", "local"])
def test_pictures_become_chunks_without_a_hand_on_it(server: Server, tmp_path: Path, way: str) -> None:
    with open_local(server.core, tmp_path / "socket") as (door,):
        check_that_pictures_become_chunks(server, server.endpoint if way == "tcp" else door.address)


def check_that_pictures_become_chunks(server: Server, endpoint: str) -> None:
    with Link(endpoint, CAMERAS, NativePlayer(PlayerConfig.default()), "lift") as link:
        deadline = time.monotonic() + 10
        while link.counts()["chunks_received"] < 5:
            assert time.monotonic() < deadline, link.counts()
            time.sleep(0.01)
        link.tell("put it down")
        assert link.report().sent >= 5
        assert link.report().refused == 0
        assert link.counts()["errors_received"] == 0
    assert server.core.counts["observations"] >= 5


def test_an_address_that_is_none_and_a_camera_that_is_missing_are_named() -> None:
    player = NativePlayer(PlayerConfig.default())
    with pytest.raises(TransportError, match="nowhere"):
        Link("nowhere", CAMERAS, player, "lift")
    with pytest.raises(TransportError, match="/dev/shm/st4vla-none"):
        Link("tcp://127.0.0.1:9", [Camera("agentview", "memory", "/dev/shm/st4vla-none")], player, "lift")
    with pytest.raises(TransportError, match="instruction"):
        Link("tcp://127.0.0.1:9", CAMERAS, player, "")
