"""What a network does to frames and chunks: loss, delay, a cable that is pulled, a client that reads nothing."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import zmq

from st4vla.contracts.messages import Hello
from st4vla.contracts.wire import encode

HOLD_MS = 400
S = 1_000_000_000


def check_after(seen: dict[str, Any], ended_ns: int) -> None:
    """No action was executed that was too old, and service was back within a second of the cause's end."""
    assert max(age_ms for _, age_ms in seen["executed"]) < HOLD_MS
    back_s = (next(at for at in seen["arrivals"] if at > ended_ns) - ended_ns) / S
    assert back_s < 1.0, f"service was back after {back_s:.2f} s"
    rate_hz = sum(at > ended_ns + S for at in seen["arrivals"]) / ((seen["arrivals"][-1] - ended_ns - S) / S)
    assert rate_hz > 35


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_lost_packets(network: Any, start: Callable[..., Any], lasting: Callable[[float], None], share: float) -> None:
    start("server", network.endpoint, network.runtime, network.keys)
    loop = start("loop", network.endpoint, network.robot, network.keys)
    lasting(1.0)
    network.lose(share)
    began_ns = time.monotonic_ns()
    lasting(3.0)
    network.lose_nothing()
    ended_ns = time.monotonic_ns()
    lasting(2.5)
    seen = loop.finish()
    check_after(seen, ended_ns)
    if share < 0.1:
        # With 30 % lost each way TCP hardly gets a frame across, and what it gets across is too old.
        assert sum(began_ns < at < ended_ns for at in seen["arrivals"]) > 60


def test_a_cut_link(network: Any, start: Callable[..., Any], lasting: Callable[[float], None]) -> None:
    server = start("server", network.endpoint, network.runtime, network.keys)
    loop = start("loop", network.endpoint, network.robot, network.keys)
    lasting(1.0)
    network.cut()
    cut_ns = time.monotonic_ns()
    lasting(3.0)
    network.lose_nothing()
    ended_ns = time.monotonic_ns()
    lasting(2.5)
    seen = loop.finish()
    check_after(seen, ended_ns)
    assert not [at for at, _ in seen["executed"] if cut_ns + HOLD_MS * 1_000_000 < at < ended_ns], "the arm holds"
    counts = server.finish()
    assert counts["plans_first"] == 1, "the client that came back is the one that it was"


def test_two_hundred_milliseconds_each_way(start: Callable[..., Any], lasting: Callable[[float], None]) -> None:
    server = start("server", "tcp://127.0.0.1:*")
    with delayed(int(server.first.rsplit(":", 1)[1])) as (port, delay):
        loop = start("loop", f"tcp://127.0.0.1:{port}")
        lasting(1.0)
        delay.seconds = 0.2
        began_ns = time.monotonic_ns()
        lasting(3.0)
        delay.seconds = 0.0
        ended_ns = time.monotonic_ns()
        lasting(2.5)
        seen, counts = loop.finish(), server.finish()
    check_after(seen, ended_ns)
    # Chunks go on and come too late, for a frame of 400 ms is not executed any more.
    late = [at for at in seen["arrivals"] if began_ns + S < at < ended_ns]
    assert len(late) > 50
    assert not [at for at, _ in seen["executed"] if began_ns + S < at < ended_ns]
    assert counts["chunks"] > 100


def test_a_client_that_reads_nothing_holds_no_memory_and_nobody_up(
    start: Callable[..., Any], lasting: Callable[[float], None]
) -> None:
    server = start("server", "tcp://127.0.0.1:*")
    context = zmq.Context()
    with context.socket(zmq.DEALER) as deaf:
        deaf.setsockopt(zmq.LINGER, 0)
        deaf.setsockopt(zmq.RCVHWM, 1)
        deaf.setsockopt(zmq.RCVBUF, 4096)
        deaf.connect(server.first)
        loop = start("loop", server.first)
        before = resident_bytes(server.process.pid)
        question = bytes(encode(Hello(1)))
        for _ in range(30_000):
            with suppress(zmq.Again):
                deaf.send(question, zmq.NOBLOCK)
        lasting(1.0)
        grown = resident_bytes(server.process.pid) - before
        seen = loop.finish()
    context.term()
    assert grown < 8e6
    assert len(seen["arrivals"]) > 30
    assert not seen["errors"]


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096


class Delay:
    seconds = 0.0


@contextmanager
def delayed(target: int) -> Iterator[tuple[int, Delay]]:
    """Relay TCP to a port of this machine, each byte later by a delay that can be changed."""
    delay, ready, loop = Delay(), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()
    ports: list[int] = []

    async def deliver(queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            at, data = await queue.get()
            await asyncio.sleep(max(at - time.monotonic(), 0))
            writer.write(data)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        task = asyncio.create_task(deliver(queue, writer))
        try:
            while data := await reader.read(1 << 16):
                queue.put_nowait((time.monotonic() + delay.seconds, data))
        finally:
            task.cancel()
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    async def serve() -> None:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait(5)
    try:
        yield ports[0], delay
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
