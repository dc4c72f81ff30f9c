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
    """A camera that the policy was trained with: its name and the pixels it sees.

    A picture of another size is squeezed as a whole with Pillow's antialiased bicubic filter, rows first.
    """

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


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an engine's outputs compare with the bundle's golden outputs.

    `max_relative` is the largest absolute difference over the largest absolute golden value.
    """

    max_absolute: float
    max_relative: float
    cosine: float


class ActionGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a quantised policy's actions are from the float32 policy's on held-out frames, at the worst frame.

    Attributes:
        frames: How many.
        cosine: Of a chunk, normalised.
        trajectory_cosine: The smallest one of all denoising steps.
        joint_error_rad: Of the joint that differs most while a chunk is carried out.
        min_cosine: What was asked for.
        max_joint_error_rad: What was asked for.
    """

    frames: int
    cosine: float
    trajectory_cosine: float
    joint_error_rad: float
    min_cosine: float
    max_joint_error_rad: float

    @property
    def passed(self) -> bool:
        """Whether the actions are near enough."""
        return self.cosine >= self.min_cosine and self.joint_error_rad <= self.max_joint_error_rad


class GroundingGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What quantising did to the boxes that the planner finds: mean intersection over union, in points of a hundred."""

    boxes: int
    iou_before: float
    iou_after: float
    max_drop: float

    @property
    def passed(self) -> bool:
        """Whether few enough points were lost."""
        return self.iou_before - self.iou_after < self.max_drop


class Quantization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Smaller numbers in a bundle's graphs, and what was measured of them.

    Attributes:
        form: What kind of engine they are for: ``tensorrt`` or ``cpu``.
        precisions: Graph, then block, to its precision; blocks that are not named are float32.
        actions: How the actions fared.
        grounding: How boxes fared; None where it was not measured.
        expected: How far each graph, and under ``actions`` the whole chunk, is from the golden numbers of float32.
        overflows: What float16 could not hold, in words.
    """

    form: str
    precisions: dict[str, dict[str, str]]
    actions: ActionGate
    grounding: GroundingGate | None
    expected: dict[str, Parity]
    overflows: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the policy is as good as the float32 one, as far as that was asked for."""
        return self.actions.passed and (self.grounding is None or self.grounding.passed)


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
        quantization: Smaller numbers in its graphs; None where all is float32.
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
    quantization: Quantization | None = None

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


def precision_of(quantization: Quantization | None, graph: str) -> str:
    """Return the precisions of a graph's blocks in words, for example ``float16+int8``."""
    blocks = quantization.precisions.get(graph, {}) if quantization else {}
    return "+".join(sorted(set(blocks.values()))) or "float32"


def degradation(manifest: BundleManifest) -> str | None:
    """Return a warning for a bundle that was written although it missed its gate; None for all others."""
    found = manifest.quantization
    if found is None or found.passed:
        return None
    actions, grounding = found.actions, found.grounding
    said = (
        f"cosine of actions {actions.cosine:.5f} (wanted {actions.min_cosine:g}), "
        f"joints {actions.joint_error_rad * 1e3:.1f} mrad (allowed {actions.max_joint_error_rad * 1e3:g})"
    )
    if grounding is not None:
        said += (
            f", boxes {grounding.iou_before - grounding.iou_after:.2f} points worse (allowed {grounding.max_drop:g})"
        )
    return f"bundle {manifest.name!r} is degraded: quantising it missed its gate: {said}"


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
