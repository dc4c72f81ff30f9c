"""A checkpoint as a bundle of smaller numbers: observe, measure, raise the worst, judge, write."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from st4vla.contracts.action import ActionNormalizer
from st4vla.contracts.errors import ParityError, UsageError
from st4vla.contracts.folders import require_replaceable
from st4vla.contracts.manifests import (
    BUNDLE_MANIFEST,
    GRAPH_NAMES,
    ActionGate,
    BundleManifest,
    GroundingGate,
    Parity,
    Quantization,
)
from st4vla.export.bundle import (
    Graphs,
    Shown,
    check_name,
    choose_embodiment,
    golden_numbers,
    head_ids_of,
    write_bundle,
)
from st4vla.export.onnx_export import export_graphs
from st4vla.export.quantization.awq import quantize_with_modelopt
from st4vla.export.quantization.deviation import ActionJudge, Deviation
from st4vla.export.quantization.emulation import GraphSession
from st4vla.export.quantization.frames import Frame, load_frames, sampler_feeds
from st4vla.export.quantization.grounding import BoxJudge, observe_answers
from st4vla.export.quantization.observing import Observations, observe
from st4vla.export.quantization.recipe import Form
from st4vla.export.quantization.sensitivity import (
    Bounds,
    GraphLowerer,
    Progress,
    Raiser,
    measure_alone,
    raise_until_it_holds,
)
from st4vla.export.quantization.tables import write_picture, write_table
from st4vla.runtime.golden import measure_parity
from st4vla.training.checkpoint import Checkpoint

#: Points of a hundred that boxes may lose.
MAX_IOU_DROP = 1.0
TABLE, PICTURE = "sensitivity.csv", "sensitivity.png"


@dataclass(frozen=True)
class Material:
    """What a policy is judged by.

    Attributes:
        data: LeRobot data set.
        calibration_split: Its episodes whose frames give ranges.
        held_out_split: Its episodes that actions are judged on.
        calibration_frames: How many frames of the first.
        held_out_frames: How many of the second.
        samples: Held-out grounding samples; None leaves boxes unmeasured.
        calibration_samples: Grounding samples for ranges, of training; None takes those of actions alone.
        images: Folder that their pictures' names start from.
        boxes: How many are asked for.
        seed: Which frames, noise and boxes.
    """

    data: Path
    calibration_split: str = "train"
    held_out_split: str = "val"
    calibration_frames: int = 16
    held_out_frames: int = 16
    samples: Path | None = None
    calibration_samples: Path | None = None
    images: Path | None = None
    boxes: int = 100
    seed: int = 0


def quantize_checkpoint(
    checkpoint: Checkpoint,
    folder: Path,
    form: Form,
    material: Material,
    *,
    name: str,
    embodiment: str | None = None,
    start: Mapping[str, str] | None = None,
    bounds: Bounds | None = None,
    fixed: bool = False,
    allow_degraded: bool = False,
    modelopt: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda what, done, total: None,
) -> BundleManifest:
    """Write a bundle in the smallest precisions that keep the policy's actions, and its boxes.

    Args:
        checkpoint: What training left, in float32.
        folder: Where to; see `write_bundle`.
        form: The kind of engine.
        material: What it is judged by.
        name: What the bundle is called.
        embodiment: See `choose_embodiment`.
        start: Graph to the precision that it begins with, where that is not the form's own.
        bounds: How far actions may be from those of float32; None for `Bounds`' own.
        fixed: Take what `start` says, and raise nothing.
        allow_degraded: Write the bundle even if it misses its gate; it then says so wherever it is used.
        modelopt: Interpreter of an environment with NVIDIA ModelOpt, whose AWQ finds the planner's int4 weights; None
            rounds them to nearest.
        report: Called with lines about what is found.
        progress: Called with what is measured, how much is done, and of how much.

    Raises:
        UsageError: The folder, the name, the embodiment or a precision is not possible.
        DatasetError: The material cannot be read.
        MissingExtraError: `modelopt` cannot be run.
        ParityError: The gate does not hold, and `allow_degraded` was not said; or actions are not numbers at all.
            Nothing is written.
    """
    check_name(name)
    chosen_embodiment, limits = choose_embodiment(checkpoint, embodiment), bounds or Bounds()
    source = checkpoint.manifest
    starts = {**form.start, **(start or {})}
    _refuse_early(folder, form, starts, modelopt)
    boxes = _box_judge(checkpoint, material)
    frames = _frames(checkpoint, material, material.calibration_split, material.calibration_frames)
    held_out = _frames(checkpoint, material, material.held_out_split, material.held_out_frames)
    normalizer = ActionNormalizer(source.action, source.statistics[chosen_embodiment])
    with TemporaryDirectory() as temporary:
        work = Path(temporary)
        exact, emulated = work / "float32", work / "emulated"
        emulated.mkdir()
        progress("export", 0, 1)
        paths = export_graphs(checkpoint.policy, head_ids_of(checkpoint), len(source.views), exact)
        common = source.action, normalizer, source.sampler.num_steps
        with ActionJudge(paths, frames, *common) as seen:
            observations, asked = _observe(paths, seen, work, progress), seen.feeds("planner")
        if material.calibration_samples is not None:
            images, count = material.images or material.data, material.calibration_frames
            answers = observe_answers(checkpoint, material.calibration_samples, images, count=count, seed=material.seed)
            observations["planner"] = observations["planner"].joined(answers)
        lowerer = GraphLowerer(paths, form, observations, emulated)
        if modelopt is not None:
            lowerer.take_int4("planner", quantize_with_modelopt(modelopt, paths["planner"], asked, work))
        overflows = [str(each) for name in GRAPH_NAMES for each in lowerer.overflows[name]]
        for line in overflows:
            report(f"float16 is too small for {line}")
        rungs = {graph: lowerer.rungs(graph, starts[graph]) for graph in GRAPH_NAMES}
        with ActionJudge(paths, held_out, *common) as judge:
            alone = measure_alone(judge, lowerer, rungs, progress)
            raiser = Raiser(rungs, alone)
            settle = partial(raise_until_it_holds, judge, lowerer, raiser, limits, fixed=fixed, report=report)
            deviation = settle()
            grounding = _judge_boxes(boxes, lowerer, raiser, material.boxes, fixed=fixed, report=report)
            if form.dynamic:
                report("as this CPU multiplies:")
                deviation = settle(written_in=emulated)
            elif grounding is not None:
                deviation = settle()
        shown = Shown(held_out[0].views, held_out[0].instruction)
        quantization = Quantization(
            form=form.name,
            precisions={graph: dict(lowerer.recipe(graph, each).precisions) for graph, each in raiser.chosen.items()},
            actions=_action_gate(deviation, limits, len(held_out)),
            grounding=grounding,
            expected=_expected(checkpoint, shown, {graph: emulated / f"{graph}.onnx" for graph in GRAPH_NAMES}),
            overflows=tuple(overflows),
        )
        _require_numbers(quantization)
        if not quantization.passed and not allow_degraded:
            raise ParityError(_missed(quantization))

        def write(into: Path) -> Mapping[str, Path]:
            write_table(into / TABLE, alone, raiser.chosen)
            write_picture(into / PICTURE, alone, raiser.chosen)
            return {graph: lowerer.write(graph, each, into) for graph, each in raiser.chosen.items()}

        graphs = Graphs(write, quantization, shown)
        return write_bundle(checkpoint, folder, graphs, name=name, embodiment=chosen_embodiment)


def _refuse_early(folder: Path, form: Form, starts: Mapping[str, str], modelopt: Path | None) -> None:
    """Refuse what is not possible before hours of measuring, not after them."""
    require_replaceable(folder, BUNDLE_MANIFEST, "a bundle")
    for each in starts.values():
        form.rungs(each)
    if modelopt is not None and "int4" not in form.ladder:
        raise UsageError(f"AWQ makes int4 weights, which {form.name} has none of; leave it out")


def _frames(checkpoint: Checkpoint, material: Material, split: str, count: int) -> list[Frame]:
    return load_frames(checkpoint, material.data, split, count=count, seed=material.seed)


def _box_judge(checkpoint: Checkpoint, material: Material) -> BoxJudge | None:
    if material.samples is None:
        return None
    images = material.images or material.data
    return BoxJudge(checkpoint, material.samples, images, count=material.boxes, seed=material.seed)


def _observe(paths: Mapping[str, Path], seen: ActionJudge, work: Path, progress: Progress) -> dict[str, Observations]:
    observations = {}
    for done, graph in enumerate(GRAPH_NAMES):
        progress(f"ranges of the {graph}", done, len(GRAPH_NAMES))
        observations[graph] = observe(paths[graph], seen.feeds(graph), work)
    return observations


def _judge_boxes(
    boxes: BoxJudge | None,
    lowerer: GraphLowerer,
    raiser: Raiser,
    count: int,
    *,
    fixed: bool,
    report: Callable[[str], None],
) -> GroundingGate | None:
    """Raise the planner's worst blocks until its boxes are as good as before."""
    if boxes is None:
        return None
    before = boxes.iou()
    while True:
        recipe = lowerer.recipe("planner", raiser.chosen["planner"])
        gate = GroundingGate(count, before, boxes.lowered_iou(recipe, lowerer.scalings["planner"]), MAX_IOU_DROP)
        report(f"boxes: {gate.iou_before:.2f} points before, {gate.iou_after:.2f} after")
        if gate.passed or fixed or not raiser.raise_worst(0.5, ("planner",)):
            return gate


def _action_gate(deviation: Deviation, bounds: Bounds, frames: int) -> ActionGate:
    return ActionGate(
        frames=frames,
        cosine=deviation.cosine,
        trajectory_cosine=deviation.trajectory_cosine,
        joint_error_rad=deviation.joint_error_rad,
        min_cosine=bounds.min_cosine,
        max_joint_error_rad=bounds.max_joint_error_rad,
    )


def _expected(checkpoint: Checkpoint, shown: Shown, paths: Mapping[str, Path]) -> dict[str, Parity]:
    """Return how far graphs are from the golden numbers of float32, each alone and all together."""
    golden = golden_numbers(checkpoint, head_ids_of(checkpoint), shown)
    found: dict[str, Parity] = {}
    known = {key.rpartition("/")[2]: value for key, value in golden.items() if key.startswith("policy/input/")}
    for graph, path in paths.items():
        inputs, outputs = (
            {key.rpartition("/")[2]: value for key, value in golden.items() if key.startswith(f"{graph}/{side}/")}
            for side in ("input", "output")
        )
        with GraphSession(path) as session:
            found[graph] = measure_parity(outputs, session.run(inputs))
            if graph != "sampler":
                known |= session.run(known)
                continue
            chunk = known["noise"]
            for feeds in sampler_feeds(known["condition"], chunk, checkpoint.manifest.sampler.num_steps):
                given = feeds | {name: known[name] for name in ("prefix", "prefix_weights")} | {"chunk": chunk}
                chunk = session.run(given)["next_chunk"]
            found["actions"] = measure_parity({"actions": golden["policy/output/actions"]}, {"actions": chunk})
    return found


def _require_numbers(quantization: Quantization) -> None:
    """Refuse actions that are not numbers, which nobody can want and no manifest can hold."""
    measured = (quantization.actions.joint_error_rad, *(each.max_relative for each in quantization.expected.values()))
    if not all(map(math.isfinite, measured)):
        msg = "quantised actions are not finite numbers; no bundle was written. Begin with larger numbers"
        raise ParityError(msg)


def _missed(quantization: Quantization) -> str:
    actions, grounding = quantization.actions, quantization.grounding
    said = (
        f"quantised actions have a cosine of {actions.cosine:.5f} (at least {actions.min_cosine:g}) and move joints by "
        f"{actions.joint_error_rad * 1e3:.1f} mrad (at most {actions.max_joint_error_rad * 1e3:g})"
    )
    if grounding is not None:
        drop = grounding.iou_before - grounding.iou_after
        said += f", and boxes lose {drop:.2f} points (less than {grounding.max_drop:g})"
    return f"{said}; no bundle was written. Begin with larger numbers, or say --allow-degraded"
