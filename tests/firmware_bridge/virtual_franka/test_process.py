import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import closing

import mujoco
import numpy as np
import pytest

from st4vla.benchmarks.virtual_franka import process
from st4vla.benchmarks.virtual_franka.poses import ArmPose, ArmWorld, PoseReceiver, decode_pose
from st4vla.benchmarks.virtual_franka.process import VirtualFranka, find_program
from st4vla.contracts.command_line import main
from st4vla.contracts.errors import (
    FileMissingError,
    ServerUnreachableError,
    TransportError,
    UsageError,
    WireError,
)


def test_it_holds_its_rate_and_reports_it() -> None:
    with VirtualFranka(["--no-hand-server"]) as robot:
        assert robot.ready["robot"] == "fr3"
        time.sleep(0.5)
        report = robot.stop()
    assert report["mode"] == "idle"
    # Periods that a busy machine misses are not made up for, but they are told of.
    assert report["rate_hz"] * (1 + report["missed"] / report["periods"]) == pytest.approx(1000, rel=0.05)


def test_it_stays_on_a_core_if_it_is_told_to() -> None:
    core = max(os.sched_getaffinity(0))
    with VirtualFranka(["--cpu", str(core)]) as robot:
        assert robot.process_id is not None
        assert os.sched_getaffinity(robot.process_id) == {core}


def answers(address: str) -> bool:
    try:
        socket.create_connection((address, process.FCI_PORT), timeout=2.0).close()
    except ConnectionError:
        return False
    return True


def test_it_ends_with_the_process_that_started_it() -> None:
    program = (
        "from st4vla.benchmarks.virtual_franka.process import VirtualFranka\n"
        "with VirtualFranka() as robot: print(robot.address, flush=True); input()"
    )
    starting = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with starting:
        assert starting.stdout is not None
        address = starting.stdout.readline().strip()
        with closing(socket.create_connection((address, process.FCI_PORT), timeout=2.0)):
            starting.kill()
    deadline = time.monotonic() + 5
    while answers(address):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_wrong_options_and_a_taken_address_are_explained() -> None:
    with pytest.raises(UsageError, match="known are fr3, panda"), VirtualFranka(["--robot", "kuka"]):
        pass
    with pytest.raises(ServerUnreachableError, match="is no IPv4 address"), VirtualFranka(address="localhost"):
        pass
    with pytest.raises(ServerUnreachableError, match="HOST:PORT"), VirtualFranka(["--publish", "here"]):
        pass
    with (
        pytest.raises(ServerUnreachableError, match="--cpu 1023: this machine has no such core"),
        VirtualFranka(["--cpu", "1023"]),
    ):
        pass
    with (
        VirtualFranka() as robot,
        pytest.raises(ServerUnreachableError, match="1337 is taken: another robot runs there"),
        VirtualFranka(address=robot.address),
    ):
        pass


def test_a_program_that_is_not_built_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BUILT", process.BUILT.with_name("nothing"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileMissingError, match="make ctest"):
        find_program()


def test_words_that_it_does_not_know_are_answered_with_those_it_knows() -> None:
    with VirtualFranka() as robot:
        with pytest.raises(UsageError, match="known are delay, disconnect"):
            robot.ask("explode")
        with pytest.raises(UsageError, match="push X Y Z MS"):
            robot.ask("push 1 2 3")
        with pytest.raises(UsageError, match="lose COUNT"):
            robot.ask("lose -1")
        with pytest.raises(UsageError, match="user_stop on"):
            robot.ask("user_stop perhaps")
        assert robot.ask("status")["mode"] == "idle"
    with pytest.raises(TransportError, match="does not answer"):
        robot.ask("status")


def test_bytes_that_are_no_request_close_the_connection_and_nothing_else() -> None:
    with VirtualFranka() as robot:
        for port, junk in ((1337, struct.pack("<III", 77, 0, 12)), (1337, b"x" * 64), (1338, b"y" * 64)):
            with closing(socket.create_connection((robot.address, port), timeout=2.0)) as client:
                client.sendall(junk)
                with pytest.raises(ConnectionResetError):
                    client.recv(16)
        assert robot.ask("status")["mode"] == "idle"


def test_an_older_client_is_told_the_version() -> None:
    with VirtualFranka() as robot, closing(socket.create_connection((robot.address, 1337), timeout=2.0)) as client:
        client.sendall(struct.pack("<IIIHH", 0, 5, 16, 5, 40000))
        assert struct.unpack("<IIIBH", client.recv(64)) == (0, 5, 15, 1, 10)


def test_joint_positions_reach_another_process_that_shows_the_same_arm() -> None:
    q = [0.1, -0.5, 0.2, -2.0, 0.3, 1.8, 0.6]
    with (
        PoseReceiver() as receiver,
        VirtualFranka(["--publish", receiver.address, "--publish-every", "5", "--q", ",".join(map(str, q))]) as robot,
    ):
        first = receiver.newest()
        robot.ask("object 0.03")
        time.sleep(0.05)
        newest = receiver.newest()
        assert newest.robot_ms > first.robot_ms
        assert newest.robot_ms % 5 == 0
        np.testing.assert_allclose(newest.q, q, atol=1e-4)
        np.testing.assert_allclose(newest.q, robot.ask("status")["q"], atol=1e-5)
        assert abs(time.monotonic_ns() - newest.monotonic_ns) < 1_000_000_000
    world = ArmWorld()
    world.show(ArmPose(newest.robot_ms, newest.monotonic_ns, newest.q, newest.dq, 0.04))
    assert world.data.joint("finger_left").qpos == pytest.approx(0.02)
    assert world.model.camera("front").id >= 0
    assert mujoco.mj_name2id(world.model, mujoco.mjtObj.mjOBJ_BODY, "flange") > 0


def test_a_datagram_that_is_no_pose_is_refused() -> None:
    with pytest.raises(WireError, match="144 bytes"):
        decode_pose(b"VFRP")
    with pytest.raises(WireError, match="begins with"):
        decode_pose(b"\0" * 144)
    with PoseReceiver() as receiver, pytest.raises(TransportError, match="--publish"):
        receiver.newest(0.05)


def test_the_command_ends_with_the_robots_report(capsys: pytest.CaptureFixture[str]) -> None:
    address = process.free_address()
    assert main(["virtual-franka", "--bind", address, "--seconds", "0.2", "--robot", "panda"]) == 0
    ready, report = map(json.loads, capsys.readouterr().out.splitlines())
    assert (ready["ready"], ready["robot"]) == (True, "panda")
    assert report["ok"]
    assert report["periods"] > 50
    assert main(["virtual-franka", "--robot", "kuka"]) == 2
    assert "known are fr3, panda" in capsys.readouterr().err


def test_an_interrupt_at_the_keyboard_ends_the_command_with_its_report() -> None:
    program = "from st4vla.contracts.command_line import main; raise SystemExit(main())"
    running = subprocess.Popen(
        [sys.executable, "-c", program, "virtual-franka", "--bind", process.free_address()],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    assert json.loads(running.stdout.readline())["ready"]
    # To the whole group, as a terminal does it.
    os.killpg(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=10)
    assert running.returncode == 0
    assert json.loads(out.splitlines()[-1])["ok"]
