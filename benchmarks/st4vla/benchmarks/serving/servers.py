"""Servers to measure from outside, each in a process of its own.

`python -m st4vla.benchmarks.serving.servers KIND` prints its address and serves until it is killed. All but ``ours``
are written as their projects' public servers are, as far as it concerns the time that an answer takes: one loop, one
answer to each question, their encodings.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from st4vla.contracts.clock import NS_PER_MS
from st4vla.contracts.errors import ServerUnreachableError
from st4vla.runtime.chunking import FREE, Splice
from st4vla.runtime.core import Core
from st4vla.runtime.local.door import open_local
from st4vla.runtime.memory import keep_freed_memory
from st4vla.runtime.policy import Acted, NullPolicy, PlanTensors, Views
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.server import SWITCH_INTERVAL_S, Server

HORIZON, ACTION_DIM = 16, 7
#: What an answer of ours weighs: a header, a record and the actions.
SHORT_REPLY_BYTES = 640


def _serve_raw(options: argparse.Namespace) -> None:
    """Send back what comes, or something as short as a chunk."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind("tcp://127.0.0.1:*")
        _announce(socket.getsockopt_string(zmq.LAST_ENDPOINT))
        short = bytes(SHORT_REPLY_BYTES)
        while True:
            address, frame = socket.recv_multipart(copy=False)
            socket.send_multipart([address, short if options.short else frame], copy=options.short)


class StillPolicy(NullPolicy):
    """Returns nothing but zeros, as the peers here do."""

    def act(self, views: Views, plan: PlanTensors, seed: int, splice: Splice = FREE) -> Acted:
        """Wait, and return zeros."""
        del views, plan, seed, splice
        if self.act_s:
            time.sleep(self.act_s)
        return Acted(np.zeros((self.horizon, self.info.action.dim), np.float32))


def _serve_ours(options: argparse.Namespace) -> None:
    keep_freed_memory()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    policy = StillPolicy(plan_s=options.plan_ms / 1e3, act_s=options.act_ms / 1e3)
    config = SchedulingConfig(
        plan_period_ns=round(options.plan_period_ms * NS_PER_MS), synchronous=options.synchronous, max_clients=16
    )
    core = Core(policy, config)
    server = Server(core, "tcp://127.0.0.1:*")
    server.start()
    if options.local is None:
        _announce(server.endpoint)
        signal.pause()
    with open_local(core, options.local) as (door,):
        _announce(door.address)
        signal.pause()


def _serve_websocket(options: argparse.Namespace) -> None:
    """Answer as openpi's server does: MessagePack with arrays, over a WebSocket."""
    from websockets.asyncio.server import ServerConnection, serve  # noqa: PLC0415 - an extra

    del options

    async def answer(connection: ServerConnection) -> None:
        await connection.send(packed({"action_horizon": HORIZON}))
        async for question in connection:
            unpacked(bytes(question) if isinstance(question, bytes) else question.encode())
            await connection.send(packed({"actions": np.zeros((HORIZON, ACTION_DIM))}))

    async def main() -> None:
        async with serve(answer, "127.0.0.1", 0, compression=None, max_size=None) as server:
            _announce("ws://{}:{}".format(*next(iter(server.sockets)).getsockname()[:2]))
            await server.serve_forever()

    asyncio.run(main())


def _serve_rep(options: argparse.Namespace) -> None:
    """Answer as GR00T's server does: MessagePack with arrays as NumPy files, REP on ZeroMQ."""
    del options
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind("tcp://127.0.0.1:*")
        _announce(socket.getsockopt_string(zmq.LAST_ENDPOINT))
        while True:
            unpacked_files(socket.recv())
            parts = {f"action.{index}": np.zeros((HORIZON, 1)) for index in range(ACTION_DIM)}
            socket.send(packed_files(parts))


def packed(message: Any) -> bytes:
    """Return MessagePack with arrays as their bytes, type and shape."""
    import msgpack  # noqa: PLC0415 - an extra

    def default(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
        raise TypeError(type(value))

    encoded: bytes = msgpack.packb(message, default=default)
    return encoded


def unpacked(data: bytes) -> Any:
    """Return what `packed` was given."""
    import msgpack  # noqa: PLC0415 - an extra

    def hook(value: dict[Any, Any]) -> Any:
        if b"__ndarray__" in value:
            return np.ndarray(buffer=value[b"data"], dtype=np.dtype(value[b"dtype"]), shape=value[b"shape"])
        return value

    return msgpack.unpackb(data, object_hook=hook, strict_map_key=False)


def packed_files(message: Any) -> bytes:
    """Return MessagePack with arrays as the bytes of NumPy files."""
    import msgpack  # noqa: PLC0415 - an extra

    def default(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            file = io.BytesIO()
            np.save(file, value, allow_pickle=False)
            return {"__ndarray_class__": True, "as_npy": file.getvalue()}
        raise TypeError(type(value))

    encoded: bytes = msgpack.packb(message, default=default)
    return encoded


def unpacked_files(data: bytes) -> Any:
    """Return what `packed_files` was given."""
    import msgpack  # noqa: PLC0415 - an extra

    def hook(value: dict[Any, Any]) -> Any:
        if "__ndarray_class__" in value:
            return np.load(io.BytesIO(value["as_npy"]), allow_pickle=False)
        return value

    return msgpack.unpackb(data, object_hook=hook)


KINDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "raw": _serve_raw,
    "ours": _serve_ours,
    "websocket": _serve_websocket,
    "rep": _serve_rep,
}


@contextmanager
def serving(kind: str, *arguments: str) -> Iterator[str]:
    """Start a server in a process of its own, yield its address, and kill it at the end.

    Raises:
        ServerUnreachableError: It ended before it served.
    """
    command = [sys.executable, "-m", __name__, kind, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None  # noqa: S101 - it was asked for
        address = process.stdout.readline().strip()
        try:
            if not address:
                msg = f"the server {kind!r} ended with status {process.wait()} before it served"
                raise ServerUnreachableError(msg)
            yield address
        finally:
            process.kill()


def _announce(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--synchronous", action="store_true")
    parser.add_argument("--local", type=Path)
    for name in ("plan-ms", "act-ms"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    parser.add_argument("--plan-period-ms", type=float, default=1e6)
    options = parser.parse_args()
    KINDS[options.kind](options)


if __name__ == "__main__":
    main()
