"""A server and a control loop in processes of their own, for tests that kill them or cut them off.

`peer.py server ENDPOINT [KEYS]` serves until SIGTERM and then prints its counts. `peer.py loop ENDPOINT [KEYS]` streams
and plays at 50 Hz until SIGTERM and then prints what it saw, all as JSON.
"""

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from st4vla.contracts.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from st4vla.contracts.messages import ActionChunk, ErrorReply, Observation, View
from st4vla.contracts.staleness import AgeBounds, Staleness
from st4vla.runtime.client import Client
from st4vla.runtime.core import Core
from st4vla.runtime.curve import ClientKeys, ServerKeys
from st4vla.runtime.player import Player
from st4vla.runtime.policy import NullPolicy
from st4vla.runtime.scheduler import SchedulingConfig
from st4vla.runtime.server import Server

SIZE, HOLD_MS, PERIOD_NS = 64, 400, NS_PER_S // 50
BOUNDS = Staleness(AgeBounds(0, HOLD_MS * NS_PER_MS, 0))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(endpoint: str, keys: Path | None) -> dict[str, Any]:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config = SchedulingConfig(staleness=BOUNDS, idle_ns=NS_PER_S)
    own = None if keys is None else ServerKeys.load(keys / "server")
    server = Server(Core(NullPolicy(image_size=SIZE, act_s=0.01, plan_s=0.03), config), endpoint, own)
    server.start()
    say(server.endpoint)
    stop.wait()
    server.stop()
    return dict(server.core.counts)


def loop(endpoint: str, keys: Path | None) -> dict[str, Any]:
    """Play like a robot: each tick sends a frame, takes what has come and executes what is due."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    player, arrivals, executed, errors = Player(BOUNDS), [], [], []
    captures: dict[int, int] = {}
    own = None if keys is None else ClientKeys.load(keys / "robot.key_secret", keys / "server" / "server.key")
    with Client(endpoint, own) as client:
        due_ns = monotonic_ns()
        say("ready")
        while not stop.is_set():
            now_ns = monotonic_ns()
            if now_ns < due_ns:
                for message in client.receive((due_ns - now_ns) / NS_PER_S):
                    if isinstance(message, ActionChunk):
                        arrivals.append(monotonic_ns())
                        captures[message.chunk_id] = message.frame_capture_ns
                        player.take(message)
                    elif isinstance(message, ErrorReply):
                        errors.append(message.code.name)
                continue
            due_ns += PERIOD_NS
            views = tuple(View.from_pixels(name, pixels, now_ns) for name in ("agentview", "wrist"))
            client.send(Observation(client.next_sequence(), views, "lift"))
            executed_ns = monotonic_ns()
            due = player.due(executed_ns)
            if due.chunk_id is not None:
                executed.append((executed_ns, (executed_ns - captures[due.chunk_id]) / NS_PER_MS))
    return {"arrivals": arrivals, "executed": executed, "errors": errors}


if __name__ == "__main__":
    kind, address, *folder = sys.argv[1:]
    say(json.dumps({"server": serve, "loop": loop}[kind](address, Path(folder[0]) if folder else None)))
