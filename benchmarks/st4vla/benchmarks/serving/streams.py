"""A client that streams frames and writes down what comes back."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np

from st4vla.contracts.clock import NS_PER_S, monotonic_ns
from st4vla.contracts.messages import ActionChunk, ErrorReply, Observation, View, Welcome
from st4vla.runtime.client import Client


@dataclass
class Stream:
    """What one client saw.

    Attributes:
        arrivals: Each chunk with its time of arrival.
        sent: Observations that went out.
        errors: Error replies.
    """

    arrivals: list[tuple[ActionChunk, int]] = field(default_factory=list)
    sent: int = 0
    errors: list[ErrorReply] = field(default_factory=list)


def stream(endpoint: str, *, rate_hz: float, seconds: float, stop: threading.Event | None = None) -> Stream:
    """Send frames at a rate for some seconds, taking what comes at once.

    Raises:
        ServerUnreachableError: No server answers.
    """
    found = Stream()
    with Client(endpoint) as client:
        welcome = client.hello(30.0)
        pictures = _pictures(welcome)
        period_ns, began_ns = round(NS_PER_S / rate_hz), monotonic_ns()
        due_ns, end_ns = began_ns, began_ns + round(seconds * NS_PER_S)
        while due_ns < end_ns and (stop is None or not stop.is_set()):
            now_ns = monotonic_ns()
            if now_ns >= due_ns:
                views = tuple(View.from_pixels(name, picture, now_ns) for name, picture in pictures.items())
                found.sent += client.send(Observation(client.next_sequence(), views, "pick up the red cube"))
                due_ns += period_ns
                continue
            for message in client.receive((due_ns - now_ns) / NS_PER_S):
                if isinstance(message, ActionChunk):
                    found.arrivals.append((message, monotonic_ns()))
                elif isinstance(message, ErrorReply):
                    found.errors.append(message)
    return found


def stream_many(endpoint: str, clients: int, *, rate_hz: float, seconds: float) -> list[Stream]:
    """Run several clients side by side, each in a thread of its own and a moment after the one before."""
    found: list[Stream] = []

    def run(index: int) -> None:
        time.sleep(index / rate_hz / clients)
        found.append(stream(endpoint, rate_hz=rate_hz, seconds=seconds))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _pictures(welcome: Welcome) -> dict[str, np.ndarray]:
    return {view.name: np.zeros((view.height, view.width, 3), np.uint8) for view in welcome.views}
