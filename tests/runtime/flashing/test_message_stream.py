import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from st4vla.contracts.errors import TransportError
from st4vla.contracts.flash_messages import Ask, Data, Watch, decode_request, encode
from st4vla.runtime.flashing.message_stream import MessageStream, connect, listen


@pytest.fixture
def links() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def stream(link: socket.socket) -> MessageStream:
    return MessageStream(link.fileno(), link.fileno())


def test_messages_of_any_length_arrive_as_they_were_sent(links: tuple[socket.socket, socket.socket]) -> None:
    sent = [Ask(), Data("ab", 5, os.urandom(3 << 20)), Watch()]
    near, far = map(stream, links)
    sender = threading.Thread(target=lambda: [near.send(message) for message in sent])
    sender.start()
    got = [far.receive() for _ in sent]
    sender.join()
    assert [decode_request(body) for body in got if body is not None] == sent


def test_a_link_that_is_cut_within_a_message_ends_the_stream(links: tuple[socket.socket, socket.socket]) -> None:
    whole = encode(Data("ab", 0, bytes(100)))
    for cut in (0, 2, 4, 50):
        one, other = socket.socketpair()
        with one, other:
            one.sendall(whole[:cut])
            one.shutdown(socket.SHUT_WR)
            assert stream(other).receive() is None


def test_a_greeting_of_a_login_shell_is_told_from_a_message(links: tuple[socket.socket, socket.socket]) -> None:
    links[0].sendall(b"Welcome to Ubuntu\n")
    with pytest.raises(TransportError, match="login script"):
        stream(links[1]).receive()


def test_who_is_gone_is_not_written_to(links: tuple[socket.socket, socket.socket]) -> None:
    links[1].close()
    assert not stream(links[0]).send(Ask())


def test_a_socket_may_lie_deeper_than_its_address_is_long_and_is_for_its_group(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    path = folder / "control.sock"
    for _ in range(2):
        # One that was left over is replaced.
        with listen(path, 1) as listener, connect(path) as link:
            near, _ = listener.accept()
            with near:
                stream(link).send(Ask())
                body = stream(near).receive()
            assert body is not None
            assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_without_a_supervisor_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=r"no supervisor runs for .*: start it|start it with"):
        connect(tmp_path / "control.sock")
