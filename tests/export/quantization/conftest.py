"""The committed tiny bundle's graphs, what was seen in them, and a few demonstrations to judge by."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx_ir as ir
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from st4vla.contracts.manifests import GRAPH_NAMES, Bundle
from st4vla.export.quantization import quantizing
from st4vla.export.quantization.emulation import GraphSession
from st4vla.export.quantization.observing import Observations, observe
from st4vla.export.quantization.quantizing import Material
from st4vla.runtime.engines.engine import Array
from st4vla.runtime.golden import load_golden

TINY = Path(__file__).parents[3] / "bundles" / "tiny"
RATE_HZ, LENGTH, SIDE = 20, 6, 64


@pytest.fixture(scope="session")
def tiny() -> Bundle:
    return Bundle(TINY)


@pytest.fixture(scope="session")
def paths(tiny: Bundle) -> dict[str, Path]:
    """Return the float32 graphs by name."""
    return {name: tiny.path(f"{name}.onnx") for name in GRAPH_NAMES}


@pytest.fixture(scope="session")
def golden(tiny: Bundle) -> dict[str, tuple[dict[str, Array], dict[str, Array]]]:
    """Return each graph's golden inputs and outputs."""
    return {name: load_golden(tiny, name) for name in GRAPH_NAMES}


@pytest.fixture(scope="session")
def observations(
    paths: dict[str, Path], golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Observations]:
    work = tmp_path_factory.mktemp("observed")
    return {name: observe(paths[name], [golden[name][0]], work) for name in GRAPH_NAMES}


@pytest.fixture(scope="session")
def run() -> Callable[[Path, Mapping[str, Array]], dict[str, Array]]:
    """Run a graph once."""

    def answer(path: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
        with GraphSession(path) as session:
            return session.run(feeds)

    return answer


@dataclass(frozen=True)
class Trial:
    """Builds a graph by hand, whose every tensor is float32."""

    model: ir.Model

    def node(self, op: str, inputs: list[ir.Value], name: str, shape: tuple[int, ...], **attributes: Any) -> ir.Value:
        made = ir.node(op, inputs, attributes, name=name)
        (value,) = made.outputs
        value.name = name.replace("/", ".")
        value.dtype, value.shape = ir.DataType.FLOAT, ir.Shape(shape)
        self.model.graph.append(made)
        return value

    def weight(self, name: str, array: np.ndarray) -> ir.Value:
        tensor = ir.Tensor(array.astype(np.float32), name=name)
        value = ir.Value(name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype))
        self.model.graph.initializers.add(value)
        return value

    def output(self, value: ir.Value) -> None:
        self.model.graph.outputs.append(value)

    def save(self, path: Path) -> Path:
        ir.save(self.model, path)
        return path


@pytest.fixture
def trial() -> Callable[..., tuple[Trial, list[ir.Value]]]:
    """Begin a graph with inputs of given shapes."""

    def begin(**inputs: tuple[int, ...]) -> tuple[Trial, list[ir.Value]]:
        float32 = ir.TensorType(ir.DataType.FLOAT)
        values = [ir.Value(name=name, shape=ir.Shape(shape), type=float32) for name, shape in inputs.items()]
        graph = ir.Graph(values, [], nodes=[], opset_imports={"": 20}, name="trial")
        return Trial(ir.Model(graph, ir_version=10)), values

    return begin


def write_episode(folder: Path, episode: int) -> None:
    """Write an episode of coloured noise that changes from frame to frame."""
    rng = np.random.default_rng(episode)
    actions = rng.uniform(-0.02, 0.02, (LENGTH, 7)).astype(np.float32)
    actions[:, 6] = np.arange(LENGTH) >= 3
    (folder / "data/chunk-000").mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "action": pa.array(actions.tolist(), pa.list_(pa.float32())),
            "episode_index": pa.array([episode] * LENGTH),
        }
    )
    pq.write_table(table, folder / f"data/chunk-000/episode_{episode:06d}.parquet")
    for camera in ("agentview", "wrist"):
        path = folder / f"videos/chunk-000/{camera}/episode_{episode:06d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=RATE_HZ, options={"crf": "10"})
            stream.width = stream.height = SIDE
            for _ in range(LENGTH):
                pixels = rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            container.mux(stream.encode())


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a LeRobot data set of three episodes, the last of which is held out."""
    folder = tmp_path_factory.mktemp("data") / "demonstrations"
    for episode in range(3):
        write_episode(folder, episode)
    (folder / "meta").mkdir()
    tasks = ("lift the cube", "open the drawer", "put the bowl on the plate")
    lines = [{"episode_index": e, "tasks": [task], "length": LENGTH} for e, task in enumerate(tasks)]
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    video = {"dtype": "video", "shape": [SIDE, SIDE, 3]}
    info = {
        "codebase_version": "v2.1",
        "robot_type": "panda",
        "total_episodes": 3,
        "fps": RATE_HZ,
        "chunks_size": 1000,
        "splits": {"train": "0:2", "val": "2:3"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {"agentview": video, "wrist": video, "action": {"dtype": "float32", "shape": [7]}},
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    return folder


@pytest.fixture
def material(demonstrations: Path) -> Material:
    return Material(demonstrations, calibration_frames=2, held_out_frames=2)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch, paths: dict[str, Path]) -> None:
    """Take the committed graphs for those of the tiny checkpoint, which they are; other tests hold that."""

    def copy(policy: object, head_ids: object, view_count: int, folder: Path) -> dict[str, Path]:
        del policy, head_ids, view_count
        folder.mkdir(parents=True)
        for path in paths.values():
            for each in (path, path.with_name(f"{path.name}.data")):
                shutil.copy(each, folder)
        return {name: folder / path.name for name, path in paths.items()}

    monkeypatch.setattr(quantizing, "export_graphs", copy)
