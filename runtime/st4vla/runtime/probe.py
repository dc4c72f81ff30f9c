"""A server's own client: the golden views through the wire, as a robot would send them, while no robot does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np

from st4vla.contracts.clock import NS_PER_MS, monotonic_ns
from st4vla.contracts.errors import St4vlaError
from st4vla.contracts.manifests import Bundle
from st4vla.contracts.messages import ActionChunk, ErrorCode, ErrorReply, Message, Observation, Plan, View
from st4vla.runtime.client import Client
from st4vla.runtime.curve import ClientKeys, ServerKeys
from st4vla.runtime.golden import load_golden_chunk
from st4vla.runtime.key_files import make_pair
from st4vla.runtime.probe_report import ProbeReport

#: Chunks that are waited for, how long, and how often a frame is sent.
CHUNKS, TIMEOUT_S, PERIOD_S = 3, 10.0, 0.1
INSTRUCTION = "hold still"
#: A plan may take longer than a frame lasts; then the next frame gets its chunk.
PASSING = (ErrorCode.STALE, ErrorCode.DEADLINE)
NAME = "probe"


def probe(bundle: Bundle, endpoint: str, keys: ServerKeys | None) -> ProbeReport:
    """Ask a server of this process for chunks of the golden views.

    Args:
        bundle: What it serves.
        endpoint: Where it listens.
        keys: Its keys; the probe is let in with a pair that is never written down.
    """
    views = load_golden_chunk(bundle)[0]["views"]
    names = [view.name for view in bundle.manifest.views]
    try:
        with _let_in(keys) as own, Client(endpoint, own) as client:
            return _ask(client, names, views)
    except St4vlaError as error:
        return ProbeReport(f"the supervisor's own client failed: {error}")


@contextlib.contextmanager
def _let_in(keys: ServerKeys | None) -> Iterator[ClientKeys | None]:
    if keys is None:
        yield None
        return
    pair = make_pair()
    keys.clients.invite(pair.public, NAME)
    try:
        yield ClientKeys(pair, keys.own.public)
    finally:
        keys.clients.uninvite(pair.public)


def _ask(client: Client, names: list[str], pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> ProbeReport:
    system1_ms: list[float] = []
    system2_ms: list[float] = []
    passed = ""
    until = time.monotonic() + TIMEOUT_S
    while len(system1_ms) < CHUNKS:
        if time.monotonic() > until:
            return ProbeReport(
                f"the golden views got {len(system1_ms)} chunks within {TIMEOUT_S:g} s; {CHUNKS} were expected"
                + (f". The last refusal: {passed}" if passed else ""),
                len(system1_ms),
            )
        now_ns = monotonic_ns()
        views = tuple(View.from_pixels(name, view, now_ns) for name, view in zip(names, pixels, strict=True))
        client.send(Observation(client.next_sequence(), views, INSTRUCTION, fresh=True, wants_plans=True))
        due = time.monotonic() + PERIOD_S
        while (left_s := due - time.monotonic()) > 0:
            for message in client.receive(left_s):
                wrong, passed = _look(message, passed)
                if wrong:
                    return ProbeReport(wrong, len(system1_ms))
                if isinstance(message, ActionChunk):
                    system1_ms.append(message.inference_ns / NS_PER_MS)
                elif isinstance(message, Plan):
                    system2_ms.append(message.inference_ns / NS_PER_MS)
    return ProbeReport("", len(system1_ms), min(system1_ms), min(system2_ms, default=None))


def _look(message: Message, passed: str) -> tuple[str, str]:
    """Return what is wrong with an answer, or nothing, and the last refusal that may pass."""
    if isinstance(message, ErrorReply):
        if message.code not in PASSING:
            return f"the golden views were refused ({message.code.name.lower()}): {message.message}", passed
        return "", message.message
    if isinstance(message, ActionChunk) and not np.isfinite(message.actions).all():
        return f"chunk {message.chunk_id} of the golden views holds NaN or infinity", passed
    return "", passed
