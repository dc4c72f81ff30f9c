"""Ask a served policy what has one known answer, so that it is seen from outside which policy answers, and whole."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from st4vla.contracts.clock import monotonic_ns
from st4vla.contracts.errors import ParityError, ServerUnreachableError
from st4vla.contracts.manifests import Bundle
from st4vla.contracts.messages import ActionChunk, Observation, View
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.client import Client
from st4vla.runtime.compiling import compile_bundle
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.golden import load_golden_chunk

INSTRUCTION, SEED = "pick up the red cube", 7
#: Largest difference of an action from the one expected, in its own unit: what sums in another order make.
BOUND = 1e-5
_WAIT_S = 1.0

Actions = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Known:
    """A bundle, and what it answers to its golden views.

    Attributes:
        bundle: The bundle.
        actions: float32 [T, A], in the robot's units.
    """

    bundle: Bundle
    actions: Actions


def know(bundle: Bundle) -> Known:
    """Find out what a bundle answers, in this process and from its own files alone.

    Raises:
        EngineError: It cannot be run here.
    """
    backend = OnnxRuntimeBackend()
    with tempfile.TemporaryDirectory() as folder:
        engines = compile_bundle(bundle, backend, this_device().fingerprint(backend), Path(folder) / "engines")
        with BundlePolicy(bundle, engines, Path(folder) / "engines", backend) as policy:
            views = load_golden_chunk(bundle)[0]["views"]
            acted = policy.act(views, policy.plan(views, INSTRUCTION), SEED)
            return Known(bundle, policy.unnormalize(acted.actions))


def ask(endpoint: str, known: Known, timeout_s: float = 10.0) -> ActionChunk:
    """Return the first chunk that a new client gets for a bundle's golden views.

    Args:
        endpoint: Of the server.
        known: Whose views; the policy that answers may be another one with the same cameras.
        timeout_s: For all of it.

    Raises:
        ServerUnreachableError: None came.
    """
    deadline = time.monotonic() + timeout_s
    pictures = load_golden_chunk(known.bundle)[0]["views"]
    while (left_s := deadline - time.monotonic()) > 0:
        # A new client each time: what follows a chunk holds to it, so only the first one is known beforehand.
        with Client(endpoint) as client:
            client.hello(left_s)
            now_ns = monotonic_ns()
            views = tuple(
                View.from_pixels(spec.name, picture, now_ns)
                for spec, picture in zip(known.bundle.manifest.views, pictures, strict=True)
            )
            client.send(Observation(client.next_sequence(), views, INSTRUCTION, seed=SEED))
            until = time.monotonic() + min(_WAIT_S, left_s)
            while (left_s := until - time.monotonic()) > 0:
                for message in client.receive(left_s):
                    if isinstance(message, ActionChunk):
                        return message
    msg = f"no chunk came from {endpoint} within {timeout_s:g} s"
    raise ServerUnreachableError(msg)


def identify(chunk: ActionChunk, candidates: list[Known], bound: float = BOUND) -> Known:
    """Return whose answer a chunk is.

    Args:
        chunk: As it came.
        candidates: Whose it may be.
        bound: Largest difference of an action.

    Raises:
        ParityError: Nobody's.
    """
    differences = {
        known.bundle.digest: float(np.abs(np.asarray(chunk.actions) - known.actions).max()) for known in candidates
    }
    for known in candidates:
        if differences[known.bundle.digest] <= bound:
            return known
    shown = ", ".join(f"{value:.2e} from {digest[:12]}" for digest, value in differences.items())
    msg = f"the chunk is that of none of the policies: {shown}, allowed is {bound:g}"
    raise ParityError(msg)
