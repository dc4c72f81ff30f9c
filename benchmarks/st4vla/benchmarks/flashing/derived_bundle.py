"""Another policy out of a bundle: other weights in its last graph, and golden numbers that fit them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from st4vla.contracts.files import file_entry, write_manifest
from st4vla.contracts.folders import replaced_folder
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.runtime.engines.engine import Array
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.golden import load_golden, load_golden_chunk
from st4vla.runtime.sampler import Sampler

#: How much the weights of the sampler are changed, relative to each of them: its chunks become clearly other ones.
CHANGE = 0.2
_GRAPH = "sampler"


def derive_bundle(source: Bundle, folder: Path, *, seed: int, name: str | None = None) -> Bundle:
    """Write a bundle that shares all of another's files but the sampler's weights and the golden numbers.

    As a further training of the fast system leaves it, it has the planner and the bridge of the other, so little of it
    has to travel to a device that has that one.

    Args:
        source: A bundle in float32.
        folder: Where to; a bundle that is there is replaced.
        seed: Of the change.
        name: What it is called; the source's name when it is not given.

    Raises:
        UsageError: `folder` holds something else.
        EngineError: The changed graph does not run.
    """
    manifest = source.manifest
    weights = manifest.graphs[_GRAPH].file + ".data"
    with replaced_folder(folder, BUNDLE_MANIFEST, "a bundle") as work:
        for file in manifest.files:
            shutil.copyfile(source.path(file), work / file)
        _change_weights(work / weights, seed)
        files = manifest.files | {weights: file_entry(work / weights)}
        write_manifest(work / BUNDLE_MANIFEST, replace(manifest, name=name or manifest.name, files=files))
        golden = _golden(Bundle(work))
        np.savez_compressed(work / manifest.golden, **golden)  # type: ignore[arg-type]
        files |= {manifest.golden: file_entry(work / manifest.golden)}
        write_manifest(work / BUNDLE_MANIFEST, replace(manifest, name=name or manifest.name, files=files))
    return Bundle(folder)


def _change_weights(path: Path, seed: int) -> None:
    weights = np.fromfile(path, np.float32)
    change = np.random.default_rng(seed).normal(1.0, CHANGE, weights.shape).astype(np.float32)
    (weights * change).tofile(path)


def _golden(bundle: Bundle) -> Mapping[str, Array]:
    """Return the archive of golden numbers, with those that the sampler has a part in made anew."""
    backend, known = OnnxRuntimeBackend(), load_golden_chunk(bundle)[0]
    with np.load(bundle.path(bundle.manifest.golden), allow_pickle=False) as archive:
        golden: dict[str, Array] = {key: archive[key] for key in archive}
    with tempfile.TemporaryDirectory() as work:
        for name, graph in bundle.manifest.graphs.items():
            compiled, tensors = Path(work) / name, bundle.tensors(name)
            backend.compile(bundle.path(graph.file), compiled, tensors, cache=Path(work))
            with backend.load(compiled, tensors) as engine:
                if name != _GRAPH:
                    known |= engine.run({spec.name: known[spec.name] for spec in engine.inputs})
                    continue
                for output, value in engine.run(load_golden(bundle, name)[0]).items():
                    golden[f"{name}/output/{output}"] = value
                sampler = Sampler(engine, bundle.manifest.sampler.num_steps)
                golden["policy/output/actions"] = sampler.sample(known)
    return golden
