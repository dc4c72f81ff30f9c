"""An arm that is driven across a network, by bridge, player and libfranka, when the link is bad or gone."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from st4vla.benchmarks.virtual_franka.process import ask, find_program

PROGRAM = "from st4vla.contracts.command_line import main; raise SystemExit(main())"
ADDRESS = "127.0.0.1"
#: Over the table, where no joint is near its end.
OPTIONS = (
    *("--workspace", "0.2", "-0.2", "0.3", "0.45", "0.2", "0.6", "--turn", "0.2"),
    *("--hold-ms", "200", "--stop-ms", "300", "--no-real-time", "--no-gripper"),
    *("--camera", "agentview=pattern", "--camera", "wrist=pattern"),
)
#: More than noise of a simulated arm that stands, radians.
STILL_RAD = 1e-4


class Arm:
    """A virtual Franka in the robot's namespace, and the program that drives it there."""

    def __init__(self, network: Any, control: Path) -> None:
        inside = ["ip", "netns", "exec", network.robot]
        self.control = control
        self._robot = subprocess.Popen(
            [*inside, find_program(), "--bind", ADDRESS, "--control", str(control)], stdout=subprocess.PIPE, text=True
        )
        assert self._robot.stdout is not None
        self._robot.stdout.readline()
        keys = [
            "--key",
            str(network.keys / "robot.key_secret"),
            "--server-key",
            str(network.keys / "server/server.key"),
        ]
        command = [sys.executable, "-c", PROGRAM, "drive", "--server", network.endpoint, "--franka", ADDRESS]
        self.driver = subprocess.Popen(
            [*inside, *command, *keys, *OPTIONS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def joints(self) -> list[float]:
        q: list[float] = ask(self.control, "status")["q"]
        return q

    def moves(self) -> bool:
        """Whether the joints are elsewhere a fifth of a second later."""
        before = self.joints()
        time.sleep(0.2)
        return max(abs(a - b) for a, b in zip(before, self.joints(), strict=True)) > STILL_RAD

    def await_motion(self) -> None:
        deadline = time.monotonic() + 20
        while not self.moves():
            assert time.monotonic() < deadline

    def finish(self) -> dict[str, Any]:
        self.driver.send_signal(signal.SIGINT)
        out, _ = self.driver.communicate(timeout=20)
        figures: dict[str, Any] = json.loads(out.splitlines()[-1])
        return figures

    def close(self) -> None:
        for process in (self.driver, self._robot):
            process.kill()
            process.communicate()


@pytest.fixture
def arm(network: Any, start: Callable[..., Any], tmp_path: Path) -> Iterator[Arm]:
    start("server", network.endpoint, network.runtime, network.keys)
    made = Arm(network, tmp_path / "control")
    yield made
    made.close()


def test_a_cut_link_brings_the_arm_to_rest_until_somebody_lets_it_go_on(
    arm: Arm, network: Any, lasting: Callable[[float], None]
) -> None:
    arm.await_motion()
    network.cut()
    lasting(1.0)
    assert not arm.moves()
    network.lose_nothing()
    lasting(2.0)
    assert not arm.moves(), "it moved before anybody said so"
    arm.driver.send_signal(signal.SIGUSR1)
    arm.await_motion()
    figures = arm.finish()
    assert (figures["ended"], figures["why"]) == ("at_rest", "")
    # The one of the cut, and the one that ends the run.
    assert figures["stops"] == 2
    assert ask(arm.control, "status")["errors"] == []


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_lost_packets_end_in_no_reflex(arm: Arm, network: Any, lasting: Callable[[float], None], share: float) -> None:
    arm.await_motion()
    network.lose(share)
    lasting(5.0)
    network.lose_nothing()
    lasting(2.0)
    # Frames that grew too old have stopped it, if the loss was heavy.
    arm.driver.send_signal(signal.SIGUSR1)
    arm.await_motion()
    assert arm.finish()["ended"] == "at_rest"
    assert ask(arm.control, "status")["errors"] == []
