"""What lies in `checkpoint.json`, `bundle.json` and `engines.json`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from st4vla.contracts.action import ActionSpec, ActionStatistics
from st4vla.contracts.files import FileEntry, read_manifest, verify_files
from st4vla.contracts.messages import MAX_BUNDLE_NAME_BYTES
from st4vla.contracts.model_config import ModelConfig, SamplerConfig
from st4vla.contracts.prompts import PromptSpec
from st4vla.contracts.tensor_spec import GraphTensors, SizeRange, TensorSpec

CHECKPOINT_FORMAT = 1
BUNDLE_FORMAT = 1
ENGINES_FORMAT = 2
CHECKPOINT_MANIFEST = "checkpoint.json"
BUNDLE_MANIFEST = "bundle.json"
ENGINES_MANIFEST = "engines.json"
GRAPH_NAMES = ("planner", "bridge", "sampler")


class ViewSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A camera that the policy was trained with: its name and the pixels it sees."""

    name: str
    height: int
    width: int


class CheckpointManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A trained policy before export.

    Attributes:
        format_version: `CHECKPOINT_FORMAT`.
        preset: The preset it began as.
        seed: The seed it was initialised from.
        model: Sizes of the networks.
        sampler: How chunks are drawn.
        views: Cameras in prompt order.
        action: What its actions are.
        statistics: Action statistics by embodiment.
        prompt: How it is spoken to.
        files: Everything else in the folder.
    """

    format_version: int
    preset: str
    seed: int
    model: ModelConfig
    sampler: SamplerConfig
    views: tuple[ViewSpec, ...]
    action: ActionSpec
    statistics: dict[str, ActionStatistics]
    prompt: PromptSpec
    files: dict[str, FileEntry]


class GraphSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ONNX graph of a bundle."""

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class BundleManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy as it travels to a device.

    Attributes:
        format_version: `BUNDLE_FORMAT`.
        name: What it is called, at most `MAX_BUNDLE_NAME_BYTES`.
        preset: The preset of its checkpoint.
        embodiment: Whose statistics it carries.
        views: Cameras in prompt order.
        action: What its actions are.
        statistics: Ranges of its actions.
        prompt: How it is spoken to.
        sampler: How chunks are drawn. Guidance and the clean prefix are baked into the sampler's graph, which is one
            step; the number of steps is not.
        graphs: `planner`, `bridge` and `sampler`.
        sizes: What each dynamic dimension of theirs may be.
        tokenizer: File of the tokenizer.
        golden: File of the golden inputs and outputs.
        files: Every file but the manifest.
    """

    format_version: int
    name: str
    preset: str
    embodiment: str
    views: tuple[ViewSpec, ...]
    action: ActionSpec
    statistics: ActionStatistics
    prompt: PromptSpec
    sampler: SamplerConfig
    graphs: dict[str, GraphSpec]
    sizes: dict[str, SizeRange]
    tokenizer: str
    golden: str
    files: dict[str, FileEntry]

    def __post_init__(self) -> None:
        """Refuse a bundle that could not be served: its graphs, files, views and name must fit together."""
        if not 1 <= len(self.name.encode()) <= MAX_BUNDLE_NAME_BYTES:
            msg = f"bundle name {self.name!r}: 1 to {MAX_BUNDLE_NAME_BYTES} bytes fit on the wire"
            raise ValueError(msg)
        if set(self.graphs) != set(GRAPH_NAMES):
            msg = f"a bundle has the graphs {', '.join(GRAPH_NAMES)}; this one has {', '.join(sorted(self.graphs))}"
            raise ValueError(msg)
        named = [self.tokenizer, self.golden, *(graph.file for graph in self.graphs.values())]
        unknown = [name for name in named if name not in self.files]
        if unknown:
            msg = f"files named but not listed with a digest: {', '.join(unknown)}"
            raise ValueError(msg)
        tensors = [tensor for graph in self.graphs.values() for tensor in (*graph.inputs, *graph.outputs)]
        dynamic = {size for tensor in tensors for size in tensor.shape if isinstance(size, str)}
        if dynamic != set(self.sizes):
            msg = f"sizes are given for {sorted(self.sizes)}, but the graphs' dynamic dimensions are {sorted(dynamic)}"
            raise ValueError(msg)
        if len(self.views) != self.prompt.view_count:
            msg = f"{len(self.views)} views, but a prompt for {self.prompt.view_count}"
            raise ValueError(msg)


class DeviceFingerprint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What engines depend on; a difference in any of it means compiling again. Empty where it does not apply.

    `cores` counts those that the process may use, and only for a back end that runs on them: its settings were measured
    with so many.
    """

    machine: str
    processor: str
    backend: str
    compiler: str
    cores: int = 0
    gpu: str = ""
    compute_capability: str = ""
    driver: str = ""
    jetpack: str = ""
    power_mode: str = ""

    def differences(self, other: DeviceFingerprint) -> list[str]:
        """Return one ``field: ours, theirs`` for each difference."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in self.__struct_fields__)
        return [f"{name}: {ours!r} here, {theirs!r} there" for name, ours, theirs in pairs if ours != theirs]


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an engine's outputs compare with the bundle's golden outputs.

    `max_relative` is the largest absolute difference over the largest absolute golden value.
    """

    max_absolute: float
    max_relative: float
    cosine: float


class CpuSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an engine uses the CPU's cores.

    Attributes:
        threads: How many it computes with, the one that calls it among them; at least 1.
        spinning: They wait for work by looking for it without pause, which takes a core each while the engine runs.
    """

    threads: int
    spinning: bool = False

    def __post_init__(self) -> None:
        """Refuse fewer threads than one."""
        if self.threads < 1:
            msg = f"an engine on the CPU has at least 1 thread, not {self.threads}"
            raise ValueError(msg)

    def __str__(self) -> str:
        """Return for example ``2 threads, spinning``."""
        return f"{self.threads} thread{'s' * (self.threads > 1)}{', spinning' * self.spinning}"


class EngineEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One compiled graph, and what was measured of it on this device; of the sampler, that is one step.

    `cpu` is what was found best there, or None for an engine that does not run on the CPU.
    """

    file: str
    precision: str
    compile_s: float
    parity: Parity
    latency_ms: float
    cpu: CpuSettings | None = None


class EnginesManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Engines compiled on one device from one bundle.

    Attributes:
        format_version: `ENGINES_FORMAT`.
        bundle_name: What the bundle is called.
        bundle_digest: SHA-256 of its manifest.
        fingerprint: The device.
        engines: One for each graph of the bundle.
        actions: How a chunk of actions, from pixels through all engines, compares with the golden one.
        files: Every file but the manifest.
    """

    format_version: int
    bundle_name: str
    bundle_digest: str
    fingerprint: DeviceFingerprint
    engines: dict[str, EngineEntry]
    actions: Parity
    files: dict[str, FileEntry]


class Bundle:
    """A bundle on disk whose every file has been verified.

    Args:
        folder: Where `bundle.json` lies.

    Raises:
        ManifestError, FileMissingError, FileAlteredError: It is not whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / BUNDLE_MANIFEST
        self.manifest = read_manifest(path, BundleManifest, BUNDLE_FORMAT)
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        verify_files(folder, self.manifest.files)

    def tensors(self, graph: str) -> GraphTensors:
        """Return what goes into a graph and what comes out."""
        spec = self.manifest.graphs[graph]
        return GraphTensors(graph, spec.inputs, spec.outputs, self.manifest.sizes)

    def path(self, name: str) -> Path:
        """Return the path of one of its files."""
        return self.folder / name
