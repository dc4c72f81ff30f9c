import socket
import threading
from typing import Any

import pytest

from st4vla.contracts.errors import PortInUseError, UsageError
from st4vla.runtime.doors.opening import open_doors


def port_of(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_doors_are_open_inside_and_closed_outside(core: Any) -> None:
    texts = [f"{kind}=tcp://127.0.0.1:*" for kind in ("openpi", "gr00t", "starvla")]
    with open_doors(core, texts) as doors:
        ports = [port_of(door.address) for door in doors]
        assert [door.address.split(":")[0] for door in doors] == ["ws", "tcp", "ws"]
        assert all(answers(port) for port in ports)
    assert not any(answers(port) for port in ports)


def test_no_door_is_the_usual_case(core: Any) -> None:
    with open_doors(core, []) as doors:
        assert doors == []


def test_a_mistake_in_the_last_opens_none(core: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        pytest.raises(UsageError, match="front=top names no view"),
        open_doors(core, [f"openpi=tcp://127.0.0.1:{port}", "gr00t=tcp://127.0.0.1:*,front=top"]),
    ):
        pytest.fail("a door opened")
    assert not answers(port)


def test_a_door_that_cannot_open_closes_those_before_it(core: Any) -> None:
    with open_doors(core, ["gr00t=tcp://127.0.0.1:*"]) as (door,):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        texts = [f"openpi=tcp://127.0.0.1:{free}", f"starvla=tcp://127.0.0.1:{port_of(door.address)}"]
        with pytest.raises(PortInUseError), open_doors(core, texts):
            pytest.fail("a door opened")
        assert not answers(free)


def test_two_doors_on_one_address_are_refused(core: Any) -> None:
    texts = ["openpi=tcp://127.0.0.1:8123", "gr00t=tcp://127.0.0.1:8123"]
    with pytest.raises(UsageError, match="two doors on one address"), open_doors(core, texts):
        pytest.fail("a door opened")


def test_an_address_that_somebody_is_about_to_leave_is_waited_for(core: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        leaving = threading.Timer(0.3, taken.close)
        leaving.start()
        with open_doors(core, [f"openpi=tcp://127.0.0.1:{port}"], patience_s=10.0):
            assert answers(port)
        leaving.join()
