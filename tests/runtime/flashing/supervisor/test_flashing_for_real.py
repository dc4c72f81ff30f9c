"""The whole device side with real engines and a real server: `st4vla device run`, its command line, and a client."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.files import file_entry, write_manifest
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.contracts.messages import ActionChunk, Observation, View
from st4vla.runtime.client import Client
from st4vla.runtime.flashing.message_stream import connect
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.state import read_state
from st4vla.runtime.streaming import GONE_AFTER_S

PROGRAM = "from st4vla.contracts.command_line import main; raise SystemExit(main())"
#: Dies by SIGKILL before or after the disk has taken a state, the one of that number.
DIES = """
import os, signal
from st4vla.runtime.flashing import saved_state
real, count, (when, number) = saved_state.write_state, 0, {plan!r}
def write_state(path, state):
    global count
    count += 1
    if (when, number) == ("before", count):
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, state)
    if (when, number) == ("after", count):
        os.kill(os.getpid(), signal.SIGKILL)
saved_state.write_state = write_state
"""
WAIT_S = 120.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Installed:
    """A device's folder, its supervisor, and its command line."""

    def __init__(self, device: Any, trial_s: float) -> None:
        self.device, self.layout = device, device.layout
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"
        # A machine whose cores are all busy leaves nothing to a build that comes last.
        config = {"serve": {"bind": self.endpoint}, "trial": {"seconds": trial_s}, "build": {"nice": 0}}
        self.layout.config.write_text(json.dumps(config))

    @contextmanager
    def supervised(self, before: str = "") -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-c", before + PROGRAM, "device", "run", "--root", str(self.layout.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().startswith("supervising ")
                yield process
            finally:
                process.terminate()

    def sign(self, bundle: Bundle, counter: int) -> Path:
        (bundle.folder / "release.json").write_bytes(self.device.release(bundle, counter))
        return bundle.folder

    def command(self, *arguments: str) -> dict[str, Any]:
        """Run `st4vla device` and return its last line."""
        command = [sys.executable, "-c", PROGRAM, "device", arguments[0], "--root", str(self.layout.root)]
        ran = subprocess.run([*command, *arguments[1:]], capture_output=True, text=True, timeout=WAIT_S, check=False)
        told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
        return told | {"out": ran.stdout}

    def install(self, bundle: Bundle, counter: int) -> dict[str, Any]:
        return self.command("install", str(self.sign(bundle, counter)))

    def until_served(self, digest: str) -> None:
        with Client(self.endpoint) as client:
            deadline = time.monotonic() + WAIT_S
            while client.hello(WAIT_S).bundle_digest.hex() != digest:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def gaps_ms(self) -> list[float]:
        texts = [line.text for line in Record(self.layout.record).read() if "gap_ms=" in line.text]
        return [float(text.rpartition("=")[2]) for text in texts]


class Robot:
    """Sends a frame every 50 ms through one socket, and notes when chunks came and of what kind the rest was."""

    def __init__(self, endpoint: str, pixel: int) -> None:
        self.chunk_s: list[float] = []
        self.others: set[str] = set()
        self._endpoint, self._pixel = endpoint, pixel
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drive)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def longest_gap_ms(self) -> float:
        return 1e3 * max(late - early for early, late in zip(self.chunk_s, self.chunk_s[1:], strict=False))

    def _drive(self) -> None:
        with Client(self._endpoint) as client:
            welcome = client.hello(WAIT_S)
            shapes = [
                (view.name, np.full((view.height, view.width, 3), self._pixel, np.uint8)) for view in welcome.views
            ]
            while not self._stop.is_set():
                now_ns = monotonic_ns()
                views = tuple(View.from_pixels(name, pixels, now_ns) for name, pixels in shapes)
                client.send(Observation(client.next_sequence(), views, "lift"))
                due = time.monotonic() + 0.05
                while (left_s := due - time.monotonic()) > 0:
                    for message in client.receive(left_s):
                        if isinstance(message, ActionChunk):
                            self.chunk_s.append(time.monotonic())
                        else:
                            self.others.add(type(message).__name__)


@pytest.fixture
def installed(device: Any) -> Installed:
    return Installed(device, trial_s=2.0)


@pytest.fixture
def blind_bundle(variant: Callable[..., Bundle]) -> Bundle:
    """Return a bundle that agrees with all its golden numbers, and answers black pictures with NaN."""
    bundle = variant("blind")
    path = bundle.path("bridge.onnx")
    model = onnx.load(path)
    graph = model.graph
    next(node for node in graph.node if "condition" in node.output).output[0] = "seen"
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    for node in (
        helper.make_node("Log", ["mean"], ["log"]),
        # Minus infinity times zero.
        helper.make_node("Mul", ["log", "zero"], ["nothing"]),
        helper.make_node("Add", ["seen", "nothing"], ["condition"]),
    ):
        graph.node.append(node)
    assert graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save(model, path)
    files = bundle.manifest.files | {"bridge.onnx": file_entry(path)}
    write_manifest(bundle.folder / BUNDLE_MANIFEST, msgspec.structs.replace(bundle.manifest, files=files))
    return Bundle(bundle.folder)


@pytest.fixture
def bundles(bundle: Bundle, other_bundle: Bundle, blind_bundle: Bundle) -> tuple[Bundle, Bundle, Bundle]:
    return bundle, other_bundle, blind_bundle


def test_a_policy_is_flashed_while_another_drives_and_a_bad_one_is_taken_back(
    installed: Installed, bundle: Bundle, other_bundle: Bundle, blind_bundle: Bundle
) -> None:
    with installed.supervised() as supervisor:
        first = installed.install(bundle, 1)
        assert first["ok"], first
        robot = Robot(installed.endpoint, 0)
        try:
            while len(robot.chunk_s) < 10:
                time.sleep(0.05)
            second = installed.install(other_bundle, 2)
            assert second["ok"], second
            installed.until_served(other_bundle.digest)
            third = installed.install(blind_bundle, 3)
            assert (third["ok"], third["rolled_back"]) == (False, True)
            assert "held NaN or infinity" in third["message"]
            installed.until_served(other_bundle.digest)
            driven = len(robot.chunk_s)
            while len(robot.chunk_s) < driven + 5:
                time.sleep(0.05)
        finally:
            robot.stop()
        # One robot, one socket: it was let go and came back by itself. Refusals are the bad policy's.
        assert robot.others <= {"ErrorReply"}
        # The bad policy's trial included, no client of ours would have taken the server for gone.
        assert robot.longest_gap_ms() < 1e3 * GONE_AFTER_S
        gaps_ms = installed.gaps_ms()
        assert len(gaps_ms) == 3
        assert max(gaps_ms) < 200
        state = read_state(installed.layout.state)
        assert (state.active, state.committed["trial"].counter) == ("b", 2)
        status = installed.command("status")
        assert status["server"]["health"] == "ready", status
        assert "rolled back" in status["out"]
        supervisor.terminate()
        assert supervisor.wait(30) == 0


def test_a_supervisor_that_is_killed_takes_its_server_along_and_the_next_one_serves(
    installed: Installed, bundle: Bundle
) -> None:
    with installed.supervised() as supervisor:
        assert installed.install(bundle, 1)["ok"]
        supervisor.kill()
    port = int(installed.endpoint.rpartition(":")[2])
    deadline = time.monotonic() + 10
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                break
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.05)
    with installed.supervised():
        installed.until_served(bundle.digest)
        assert not read_state(installed.layout.state).trial


def test_only_one_supervisor_runs(installed: Installed) -> None:
    with installed.supervised():
        refused = installed.command("run")
        assert refused["error"] == "DeviceBusyError"
        with connect(installed.layout.control):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["good", "bad"])
@pytest.mark.parametrize("plan", [("before", 1), ("after", 1), ("before", 2), ("after", 2)])
def test_a_power_cut_at_each_change_of_the_state_leaves_a_whole_policy_and_the_next_flash_succeeds(
    installed: Installed,
    bundle: Bundle,
    other_bundle: Bundle,
    blind_bundle: Bundle,
    *,
    plan: tuple[str, int],
    kind: str,
) -> None:
    with installed.supervised():
        assert installed.install(bundle, 1)["ok"]
    new = other_bundle if kind == "good" else blind_bundle
    robot: Robot | None = None
    with installed.supervised(DIES.format(plan=plan)) as supervisor:
        installed.until_served(bundle.digest)
        if kind == "bad":
            robot = Robot(installed.endpoint, 0)
        try:
            installed.install(new, 2)
            supervisor.wait(WAIT_S)
            assert supervisor.returncode == -signal.SIGKILL
        finally:
            if robot is not None:
                robot.stop()
    with installed.supervised():
        robot = Robot(installed.endpoint, 0) if kind == "bad" else None
        try:
            installed.command("watch")
            deadline = time.monotonic() + WAIT_S
            while read_state(installed.layout.state).trial is not None:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            if robot is not None:
                robot.stop()
        # Only what was written before the cut, and did well, is the new one.
        switched = plan != ("before", 1) and kind == "good"
        installed.until_served(new.digest if switched else bundle.digest)
        assert installed.command("verify")["ok"]
        again = installed.install(other_bundle, 3)
        assert again["ok"], again
        installed.until_served(other_bundle.digest)
