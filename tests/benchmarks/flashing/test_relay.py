import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from st4vla.benchmarks.flashing.relay import CutLink


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that answers every byte with itself."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                try:
                    while data := connection.recv(1000):
                        connection.sendall(data)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data


def test_a_link_passes_bytes_both_ways_and_counts_them(echo: tuple[str, int]) -> None:
    with CutLink(echo) as link, socket.create_connection(link.address, 5) as client:
        client.sendall(b"a" * 50_000)
        assert read(client, 50_000) == b"a" * 50_000
        assert (link.to_server_bytes, link.to_client_bytes, link.cuts) == (50_000, 50_000, 0)


def test_the_first_connection_is_reset_after_so_many_bytes_and_the_next_one_is_not(echo: tuple[str, int]) -> None:
    with CutLink(echo, cut_after_bytes=1000) as link:
        with socket.create_connection(link.address, 5) as client:
            client.sendall(b"a" * 999)
            assert read(client, 999) == b"a" * 999
            client.sendall(b"b" * 10)
            with pytest.raises(ConnectionResetError):
                read(client, 1000)
        with socket.create_connection(link.address, 5) as client:
            client.sendall(b"a" * 5000)
            assert len(read(client, 5000)) == 5000
        assert (link.connections, link.cuts) == (2, 1)
