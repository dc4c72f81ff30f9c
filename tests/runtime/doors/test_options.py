import pytest

from st4vla.contracts.errors import UsageError
from st4vla.runtime.doors.options import DoorOptions, Part, Planning, parse_door


def test_an_address_is_enough() -> None:
    assert parse_door("openpi=tcp://127.0.0.1:8000") == DoorOptions("openpi", "127.0.0.1", 8000)
    assert parse_door("gr00t=tcp://localhost:*") == DoorOptions("gr00t", "127.0.0.1", 0)
    assert parse_door("starvla=tcp://[::1]:10093") == DoorOptions("starvla", "::1", 10093)


def test_options_and_keys_of_views_are_told_apart() -> None:
    text = "openpi=tcp://127.0.0.1:8000,observation/front=agentview,plan=reuse,seed=7,gripper=-1:1,connections=2"
    options = parse_door(f"{text},timeout_s=0.5,actions=arm:0-5+gripper:6,unnorm_key=franka+oxe_rt1,version=1.5")
    assert options.view_keys == (("observation/front", "agentview"),)
    assert options.plan is Planning.REUSE
    assert (options.seed, options.gripper, options.connections, options.timeout_s) == (7, (-1.0, 1.0), 2, 0.5)
    assert options.actions == (Part("arm", 0, 5), Part("gripper", 6, 6))
    assert (options.unnorm_keys, options.version) == (("franka", "oxe_rt1"), "1.5")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "[::]", "robot.local", "8.8.8.8", "*"])
def test_a_door_that_strangers_can_reach_is_refused_and_a_tunnel_named(host: str) -> None:
    with pytest.raises(UsageError, match=r"knows no keys.*ssh -L 8123:127\.0\.0\.1:8123"):
        parse_door(f"openpi=tcp://{host}:8123")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "openpi",
        "lerobot=tcp://127.0.0.1:8000",
        "openpi=ws://127.0.0.1:8000",
        "openpi=tcp://127.0.0.1",
        "openpi=tcp://127.0.0.1:99999",
        "openpi=tcp://:80",
        "openpi=tcp://127.0.0.1:80/path",
        "openpi=tcp://127.0.0.1:80,",
        "openpi=tcp://127.0.0.1:80,key",
        "openpi=tcp://127.0.0.1:80,=agentview",
        "openpi=tcp://127.0.0.1:80,plan=sometimes",
        "openpi=tcp://127.0.0.1:80,seed=-1",
        "openpi=tcp://127.0.0.1:80,gripper=1",
        "openpi=tcp://127.0.0.1:80,gripper=1:1",
        "openpi=tcp://127.0.0.1:80,gripper=nan:1",
        "openpi=tcp://127.0.0.1:80,connections=0",
        "openpi=tcp://127.0.0.1:80,timeout_s=inf",
        "gr00t=tcp://127.0.0.1:80,actions=arm",
        "gr00t=tcp://127.0.0.1:80,actions=arm:5-0",
        "gr00t=tcp://127.0.0.1:80,actions=arm:-1",
        "gr00t=tcp://127.0.0.1:80,version=2",
    ],
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--door"):
        parse_door(text)
