import pytest

from st4vla.contracts.errors import UnsafeBindError
from st4vla.runtime.core import Core
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.safe_bind import require_safe_bind
from st4vla.runtime.server import Server

LOCAL = (
    "tcp://127.0.0.1:5555",
    "tcp://127.0.0.1:*",
    "tcp://127.8.9.10:5555",
    "tcp://localhost:5555",
    "tcp://[::1]:5555",
    "ipc:///tmp/st4vla",
    "ipc://@st4vla",
    "inproc://st4vla",
)
REACHABLE = (
    "tcp://*:5555",
    "tcp://0.0.0.0:5555",
    "tcp://[::]:5555",
    "tcp://192.168.1.4:5555",
    "tcp://[fe80::1%eth0]:5555",
    "tcp://eth0:5555",
    "tcp://lo:5555",
    "tcp://robot.local:5555",
    "tcp://localhost.example.org:5555",
    "tcp://127.0.0.1.example.org:5555",
    "tcp://127.0.0.1;192.168.1.4:5555",
    "tcp://0x7f.1:5555",
    "tcp://:5555",
    "tcp://127.0.0.1",
    "TCP://127.0.0.1:5555",
    "ws://127.0.0.1:5555",
    "epgm://127.0.0.1;239.192.1.1:5555",
)


@pytest.mark.parametrize("endpoint", LOCAL)
def test_an_address_of_this_machine_alone_needs_no_keys(endpoint: str) -> None:
    require_safe_bind(endpoint, None)


@pytest.mark.parametrize("endpoint", REACHABLE)
def test_any_other_address_needs_keys(endpoint: str) -> None:
    with pytest.raises(UnsafeBindError, match="make keys with `st4vla keys make server --out keys`"):
        require_safe_bind(endpoint, None)
    require_safe_bind(endpoint, object())


def test_a_server_without_keys_refuses_before_it_listens() -> None:
    server = Server(Core(NullPolicy()), "tcp://*:*")
    with pytest.raises(UnsafeBindError, match="can be reached from other machines"):
        server.start()
    assert not server.endpoint
    server.stop()
