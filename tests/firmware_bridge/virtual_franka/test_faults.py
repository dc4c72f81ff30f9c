import time
from collections.abc import Callable
from typing import Any

import pytest

from st4vla.benchmarks.virtual_franka.process import VirtualFranka

Run = Callable[..., dict[str, Any]]

#: How each client is kept moving until something happens to it.
SWAY = {"pylibfranka": ("move", "joint_position", "joint", "8"), "franky": ("sway", "8")}
ABORTED = "libfranka: Move command aborted: motion aborted by reflex!"
USER_STOP = "libfranka: Move command aborted: User Stop pressed!"
#: Every error that a state can tell of, in its order.
ERRORS = 41
ATTEMPTS = 4


def await_mode(robot: VirtualFranka, *modes: str) -> None:
    deadline = time.monotonic() + 20
    while (status := robot.ask("status"))["mode"] not in modes:
        assert time.monotonic() < deadline, status
        time.sleep(0.01)


def await_motion(robot: VirtualFranka) -> None:
    await_mode(robot, "move")
    time.sleep(0.2)


def strike(start: Any, robot: VirtualFranka, client: str, words: str) -> dict[str, Any]:
    """Let a client move, do something to its robot, and return how it ended."""
    action, *arguments = SWAY[client]
    for _ in range(ATTEMPTS):
        moving = start(client, action, robot.address, *arguments)
        await_motion(robot)
        # On a busy machine it may have lost its packets before anything was done to it.
        if robot.ask("status")["mode"] == "move":
            robot.ask(words)
            break
        moving.result()
    result: dict[str, Any] = moving.result()
    return result


#: What is done to the robot; the client's exception and how it begins; what the robot is then.
FAULTS = {
    "lose 40": ("ControlException", f'{ABORTED} ["communication_constraints_violation"]', "reflex"),
    "delay 40 3": ("ControlException", f'{ABORTED} ["communication_constraints_violation"]', "reflex"),
    "reflex self_collision_avoidance_violation": ("ControlException", f'{ABORTED} ["self_collision_avoid', "reflex"),
    "push 0 0 -90 300": ("ControlException", ABORTED, "reflex"),
    "user_stop on": ("ControlException", USER_STOP, "user_stopped"),
    "emergency_stop": ("ControlException", USER_STOP, "other"),
    # franky still stops its motion by itself; what pylibfranka leaves behind is stopped by the robot.
    "disconnect": ("NetworkException", "libfranka: server closed connection", "reflex or idle"),
    "unplug": ("NetworkException", "libfranka: UDP receive: Timeout", "reflex"),
}


@pytest.mark.parametrize("client", SWAY)
@pytest.mark.parametrize("words", FAULTS)
def test_each_fault_is_the_clients_own_exception_with_its_cause(
    robot: VirtualFranka, start: Any, client: str, words: str
) -> None:
    error, message, mode = FAULTS[words]
    result = strike(start, robot, client, words)
    assert (result["ok"], result["error"]) == (False, error), result
    assert result["message"].startswith(message)
    await_mode(robot, *mode.split(" or "))


@pytest.mark.parametrize("client", SWAY)
def test_a_push_is_named_as_what_felt_it(robot: VirtualFranka, start: Any, client: str) -> None:
    result = strike(start, robot, client, "push 0 0 -90 300")
    assert "joint_reflex" in result["message"] or "cartesian_reflex" in result["message"]


def test_every_error_of_the_interface_reaches_the_client_by_its_name(robot: VirtualFranka, run: Run) -> None:
    with pytest.raises(Exception, match="one of") as refused:
        robot.ask("reflex unknown")
    names = str(refused.value).partition("[")[2].rstrip("]").replace('"', "").replace(" ", "").split(",")
    assert len(set(names)) == ERRORS
    result = run("pylibfranka", "every_reflex", robot, str(robot.control_path), ",".join(names))
    assert result["ok"], result
    firsts = {name: said.partition("\n")[0] for name, said in result["said"].items()}
    assert firsts == {name: f'{ABORTED} ["{name}"]' for name in names}


@pytest.mark.parametrize(
    ("cause", "mode"),
    [
        ("reflex joint_reflex", '("Reflex")!'),
        ("user_stop on", '("User stopped")!'),
        ("guiding on", '("Guiding")!'),
        ("emergency_stop", '("Other")! Did you open the brakes?'),
    ],
)
def test_a_robot_that_may_not_move_says_why(robot: VirtualFranka, run: Run, cause: str, mode: str) -> None:
    robot.ask(cause)
    result = run("pylibfranka", "start_only", robot)
    assert (result["ok"], result["error"]) == (False, "CommandException"), result
    assert result["message"] == f"libfranka: Move command rejected: command not possible in the current mode {mode}"


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [("user_stop on", "user_stop off"), ("emergency_stop", "open_brakes"), ("reflex joint_reflex", "status")],
)
@pytest.mark.parametrize("client", SWAY)
def test_after_the_remedy_the_client_moves_again(
    robot: VirtualFranka, run: Run, client: str, cause: str, remedy: str
) -> None:
    robot.ask(cause)
    robot.ask(remedy)
    arguments = {"pylibfranka": ("move", "joint_velocity", "joint", "0.3"), "franky": ("recovers",)}[client]
    result = run(client, arguments[0], robot, *arguments[1:])
    assert result["ok"], result
    assert robot.ask("status")["mode"] == "idle"


def test_a_client_that_is_killed_leaves_a_robot_that_stops_and_may_be_recovered(
    robot: VirtualFranka, start: Any, run: Run
) -> None:
    moving = start("pylibfranka", "move", robot.address, "joint_position", "joint", "8")
    await_motion(robot)
    moving.kill()
    await_mode(robot, "reflex")
    assert robot.ask("status")["errors"] == ["communication_constraints_violation"]
    assert run("pylibfranka", "move", robot, "joint_position", "joint", "0.5")["ok"]


def test_a_second_client_is_refused_while_there_is_one(robot: VirtualFranka, start: Any) -> None:
    moving = start("pylibfranka", "move", robot.address, "joint_position", "joint", "1.5")
    await_motion(robot)
    second = start("pylibfranka", "start_only", robot.address).result()
    assert (second["ok"], second["error"]) == (False, "NetworkException"), second
    assert moving.result()["ok"] or robot.ask("status")["lost_commands"] > 0


def test_a_few_lost_packets_are_bridged(robot: VirtualFranka, start: Any) -> None:
    moving = start("pylibfranka", "move", robot.address, "joint_position", "joint", "1.5")
    await_motion(robot)
    robot.ask("lose 10")
    result = moving.result()
    assert result["ok"], result
    assert robot.ask("status")["lost_commands"] >= 10
