"""A bundle's policy on this CPU."""

from __future__ import annotations

from pathlib import Path

from st4vla.contracts.manifests import Bundle
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.compiling import compile_bundle
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend


def opened(bundle: Bundle, work: Path, **threads: int) -> BundlePolicy:
    """Return a bundle's policy on engines in a folder; those that lie there already are not made again.

    Args:
        bundle: Whose.
        work: Folder for the engines.
        threads: See `BundlePolicy`.
    """
    backend = OnnxRuntimeBackend()
    engines = compile_bundle(bundle, backend, this_device().fingerprint(backend), work)
    return BundlePolicy(bundle, engines, work, backend, **threads)
