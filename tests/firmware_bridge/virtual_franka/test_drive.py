"""`st4vla drive` against the virtual Franka: whatever a policy says, the arm is moved within bounds."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from st4vla.benchmarks.virtual_franka.process import VirtualFranka
from st4vla.contracts.errors import TransportError
from st4vla.runtime.bridge.franka import Franka, FrankaConfig
from st4vla.runtime.bridge.native_franka import NativeFranka
from st4vla.runtime.core import Core
from st4vla.runtime.local.door import open_local
from st4vla.runtime.native_library import candidates
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.server import Server

PROGRAM = "from st4vla.contracts.command_line import main; raise SystemExit(main())"
#: Over the table, where no joint is near its end.
WORKSPACE = ("--workspace", "0.2", "-0.2", "0.3", "0.45", "0.2", "0.6", "--turn", "0.2")
CAMERAS = ("--camera", "agentview=pattern", "--camera", "wrist=pattern")
#: Through libfranka where CMake found it; else there is pylibfranka, which carries it.
THROUGH = [
    pytest.param(
        "libfranka",
        marks=pytest.mark.skipif(
            not Path(candidates("st4vla_franka", 1)[0]).is_file(),
            reason="built only where CMake finds libfranka",
        ),
    ),
    "pylibfranka",
]
#: A run that loses packets to the load of the machine, as any on a busy one may, is tried again.
ATTEMPTS = 4


@pytest.fixture(params=THROUGH)
def through(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(Core(NullPolicy()), "tcp://127.0.0.1:*")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def endpoint(server: Server) -> str:
    return server.endpoint


class Drive:
    def __init__(self, endpoint: str, address: str, *options: str) -> None:
        command = [sys.executable, "-c", PROGRAM, "drive", "--server", endpoint, "--franka", address, "--no-real-time"]
        self.process = subprocess.Popen(
            [*command, *CAMERAS, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def result(self) -> dict[str, Any]:
        out, _ = self.process.communicate(timeout=60)
        figures: dict[str, Any] = json.loads(out.splitlines()[-1]) | {"status": self.process.returncode, "said": out}
        return figures


def await_mode(robot: VirtualFranka, mode: str) -> None:
    deadline = time.monotonic() + 20
    while robot.ask("status")["mode"] != mode:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def connected(robot: VirtualFranka, through: str) -> NativeFranka | Franka:
    config = FrankaConfig(real_time=False, gripper=False)
    return NativeFranka(robot.address, config) if through == "libfranka" else Franka(robot.address, config)


def driven(endpoint: str, robot: VirtualFranka, *options: str) -> dict[str, Any]:
    for attempt in range(ATTEMPTS):
        before = robot.ask("status")["lost_commands"]
        figures = Drive(endpoint, robot.address, *options).result()
        if figures["ok"] or robot.ask("status")["lost_commands"] == before or attempt == ATTEMPTS - 1:
            break
        robot.ask("status")
        Franka(robot.address, FrankaConfig(real_time=False, gripper=False)).recover(looked=True)
    return figures


def test_connecting_leaves_a_thread_the_priority_that_it_had(robot: VirtualFranka, through: str) -> None:
    before = (os.sched_getscheduler(0), os.sched_getparam(0))
    arm = connected(robot, through)
    assert (os.sched_getscheduler(0), os.sched_getparam(0)) == before
    del arm


def test_noise_from_a_policy_moves_the_arm_without_a_reflex(endpoint: str, robot: VirtualFranka, through: str) -> None:
    stood_ms = robot.ask("status")["missed"]
    figures = driven(endpoint, robot, "--through", through, "--seconds", "3", *WORKSPACE)
    assert figures["through"] == through
    assert (figures["ended"], figures["ok"], figures["status"]) == ("at_rest", True, 0), figures
    assert figures["chunks_executed"] > 10
    assert figures["tracking_error_mm"]["max"] < 5
    status = robot.ask("status")
    # The robot's time stands still where the machine is too busy for it.
    assert figures["cycles"] > 2900 - (status["missed"] - stood_ms)
    assert (status["mode"], status["errors"]) == ("idle", [])


def test_pictures_go_through_shared_memory_on_one_machine(server: Server, robot: VirtualFranka, tmp_path: Path) -> None:
    with open_local(server.core, tmp_path / "socket") as (door,):
        figures = driven(server.endpoint, robot, "--local", str(tmp_path / "socket"), "--seconds", "2", *WORKSPACE)
        assert (figures["ended"], figures["ok"], figures["status"]) == ("at_rest", True, 0), figures
        assert figures["chunks_executed"] > 5
        assert door.counts["clients"] >= 1


def test_commands_that_are_lost_on_their_way_end_no_motion(endpoint: str, robot: VirtualFranka, through: str) -> None:
    for attempt in range(ATTEMPTS):
        drive = Drive(endpoint, robot.address, "--through", through, "--no-gripper", "--seconds", "4", *WORKSPACE)
        await_mode(robot, "move")
        before = robot.ask("status")["lost_commands"]
        for lost in (1, 3, 7, 12, 18):
            time.sleep(0.3)
            robot.ask(f"lose {lost}")
        figures = drive.result()
        status = robot.ask("status")
        # More than were taken away: the machine was too busy, and twenty in a row end any motion.
        if figures["ok"] or status["lost_commands"] == before + 41 or attempt == ATTEMPTS - 1:
            break
        Franka(robot.address, FrankaConfig(real_time=False, gripper=False)).recover(looked=True)
    assert figures["ended"] == "at_rest", figures
    assert status["lost_commands"] >= before + 41
    assert figures["corrections"] > 0
    assert status["errors"] == []


def test_a_reflex_ends_the_run_with_the_robots_own_words_and_only_somebody_lets_it_go_on(
    endpoint: str, robot: VirtualFranka, through: str
) -> None:
    drive = Drive(endpoint, robot.address, "--through", through, "--no-gripper", *WORKSPACE)
    await_mode(robot, "move")
    robot.ask("reflex joint_reflex")
    figures = drive.result()
    assert (figures["ended"], figures["status"]) == ("robot", 1)
    assert "joint_reflex" in figures["why"]

    franka = connected(robot, through)
    with pytest.raises(TransportError, match=r"look at (it|the arm) first"):
        franka.recover()
    assert robot.ask("status")["mode"] == "reflex"
    franka.recover(looked=True)
    assert robot.ask("status")["mode"] == "idle"


def test_a_stop_of_the_users_needs_somebody_even_when_somebody_looked(robot: VirtualFranka, through: str) -> None:
    franka = connected(robot, through)
    robot.ask("user_stop on")
    await_mode(robot, "user_stopped")
    with pytest.raises(TransportError, match=r"look at (it|the arm) first"):
        franka.recover(looked=True)


def test_an_address_without_a_robot_is_named(endpoint: str, through: str) -> None:
    figures = Drive(endpoint, "127.99.98.97", "--through", through, *WORKSPACE).result()
    assert figures["status"] == 1
    assert "127.99.98.97" in figures["message"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--dynamics", "2"), "a share lies above 0"),
        (("--workspace", "1", "0", "0", "0", "1", "1"), "must lie below"),
        (("--camera", "third"), "expected VIEW=SOURCE:WHERE"),
        (("--camera", "third=pattern"), "takes the views"),
        (("--key", "nowhere"), "go together"),
        (("--cpu", "4096"), "may run on"),
    ],
)
def test_a_command_line_that_means_nothing_is_refused_in_words(
    endpoint: str, options: tuple[str, ...], said: str
) -> None:
    figures = Drive(endpoint, "127.99.98.97", *options).result()
    assert figures["status"] != 0
    assert said in figures["message"]


def test_on_one_core_the_gripper_and_whoever_ends_the_run_are_heard(
    endpoint: str, robot: VirtualFranka, through: str
) -> None:
    core = max(os.sched_getaffinity(0))
    drive = Drive(endpoint, robot.address, "--through", through, "--cpu", str(core), *WORKSPACE)
    for task in Path(f"/proc/{drive.process.pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
    await_mode(robot, "move")
    time.sleep(4)
    drive.process.send_signal(signal.SIGINT)
    figures = drive.result()
    assert (figures["ended"], figures["ok"]) == ("at_rest", True), figures
    assert figures["gripper_events"] > 3
