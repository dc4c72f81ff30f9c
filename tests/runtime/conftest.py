"""A bundle of three graphs of a few nodes each: enough to compile, serve and break."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers

from st4vla.contracts.action import ActionSpec, ActionStatistics, NormalizationMode
from st4vla.contracts.ddim import DdimStep, ddim_steps
from st4vla.contracts.files import file_entry, write_manifest
from st4vla.contracts.manifests import BUNDLE_FORMAT, BUNDLE_MANIFEST, Bundle, BundleManifest, GraphSpec, ViewSpec
from st4vla.contracts.messages import ActionRepresentation
from st4vla.contracts.model_config import SamplerConfig
from st4vla.contracts.prompts import PromptSpec
from st4vla.contracts.tensor_spec import SizeRange, TensorSpec
from st4vla.runtime.curve import ClientKeys
from st4vla.runtime.key_files import make_pair, write_pair, write_public

TYPES = {"uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
VIEWS = TensorSpec("views", "uint8", (2, 28, 28, 3))
IDS = TensorSpec("token_ids", "int64", (1, "L"))
KEYS, VALUES = (TensorSpec(name, "float32", (1, "L")) for name in ("plan_keys", "plan_values"))
CONDITION = TensorSpec("condition", "float32", (1, 1))
CHUNK, PREFIX, NEXT = (TensorSpec(name, "float32", (1, 4, 7)) for name in ("chunk", "prefix", "next_chunk"))
WEIGHTS = TensorSpec("prefix_weights", "float32", (1, 4))
TIMESTEP, COEFFICIENTS = TensorSpec("timestep", "int64", (1,)), TensorSpec("coefficients", "float32", (5,))

GRAPHS = {
    "planner": (
        (VIEWS, IDS),
        (KEYS, VALUES),
        [
            helper.make_node("Cast", ["views"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["mean"], keepdims=0),
            helper.make_node("Cast", ["token_ids"], ["plan_keys"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["plan_keys", "mean"], ["plan_values"]),
        ],
    ),
    "bridge": (
        (VIEWS, KEYS, VALUES),
        (CONDITION,),
        [
            helper.make_node("Cast", ["views"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["mean"], keepdims=0),
            helper.make_node("Sub", ["plan_values", "plan_keys"], ["difference"]),
            helper.make_node("ReduceMean", ["difference"], ["plan"], keepdims=1),
            helper.make_node("Sub", ["plan", "mean"], ["condition"]),
        ],
    ),
    "sampler": (
        (CONDITION, CHUNK, TIMESTEP, COEFFICIENTS, PREFIX, WEIGHTS),
        (NEXT,),
        [
            helper.make_node("Add", ["chunk", "condition"], ["moved"]),
            helper.make_node("Add", ["moved", "prefix"], ["held"]),
            helper.make_node("ReduceSum", ["prefix_weights"], ["weight"], keepdims=0),
            helper.make_node("Add", ["held", "weight"], ["weighed"]),
            helper.make_node("Cast", ["timestep"], ["time"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["coefficients"], ["most"], keepdims=1),
            helper.make_node("Mul", ["time", "most"], ["shift"]),
            helper.make_node("Add", ["weighed", "shift"], ["next_chunk"]),
        ],
    ),
}


def _save_graph(path: Path, name: str) -> None:
    inputs, outputs, nodes = GRAPHS[name]
    values = [
        [helper.make_tensor_value_info(spec.name, TYPES[spec.dtype], spec.shape) for spec in specs]
        for specs in (inputs, outputs)
    ]
    model = helper.make_model(
        helper.make_graph(nodes, name, *values), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)


def shift(step: DdimStep) -> np.float32:
    """Return by how much the trial sampler moves a chunk: every step by another amount."""
    return np.float32(step.timestep) * np.float32(max(step.coefficients))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in GRAPHS:
        _save_graph(folder / f"{name}.onnx", name)
    tokenizer = Tokenizer(models.WordLevel({"[unk]": 0, "lift": 1}, unk_token="[unk]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    rng = np.random.default_rng(0)
    views = rng.integers(0, 255, VIEWS.shape, np.uint8)  # type: ignore[arg-type]
    ids, mean = np.array([[1, 2, 3]], np.int64), views.mean(dtype=np.float64).astype(np.float32)
    noise = rng.standard_normal((1, 4, 7)).astype(np.float32)
    keys = ids.astype(np.float32)
    steps = ddim_steps(SamplerConfig().num_steps)
    step = steps[5]
    condition, zeros = np.zeros((1, 1), np.float32), np.zeros((1, 4, 7), np.float32)
    golden = {
        "planner/input/views": views,
        "planner/input/token_ids": ids,
        "planner/output/plan_keys": keys,
        "planner/output/plan_values": keys + mean,
        "bridge/input/views": views,
        "bridge/input/plan_keys": keys,
        "bridge/input/plan_values": keys + 2 * mean,
        "bridge/output/condition": condition + mean,
        "sampler/input/condition": condition,
        "sampler/input/chunk": noise,
        "sampler/input/timestep": np.array([step.timestep], np.int64),
        "sampler/input/coefficients": np.array(step.coefficients, np.float32),
        "sampler/input/prefix": zeros,
        "sampler/input/prefix_weights": zeros[..., 0],
        "sampler/output/next_chunk": noise + shift(step),
        "policy/input/views": views,
        "policy/input/token_ids": ids,
        "policy/input/noise": noise,
        "policy/input/prefix": zeros,
        "policy/input/prefix_weights": zeros[..., 0],
        "policy/output/actions": noise + sum(map(shift, steps)),
    }
    np.savez(folder / "golden.npz", **golden)  # type: ignore[arg-type]
    modes = (*[NormalizationMode.QUANTILE] * 6, NormalizationMode.BINARY)
    names = ("dx_m", "dy_m", "dz_m", "rx_rad", "ry_rad", "rz_rad", "gripper")
    ends = {"q01": (-0.01,) * 7, "q99": (0.01,) * 7, "min": (-0.01,) * 7, "max": (0.01,) * 7}
    manifest = BundleManifest(
        format_version=BUNDLE_FORMAT,
        name="trial",
        preset="tiny",
        embodiment="panda",
        views=tuple(ViewSpec(name, 28, 28) for name in ("agentview", "wrist")),
        action=ActionSpec(names, modes, 6, ActionRepresentation.EE_DELTA, horizon=4, period_ns=50_000_000),
        statistics=ActionStatistics(mean=(0.0,) * 7, std=(1.0,) * 7, **ends),
        prompt=PromptSpec("none", view_count=2, tokens_per_view=1, max_tokens=200),
        sampler=SamplerConfig(),
        graphs={name: GraphSpec(f"{name}.onnx", inputs, outputs) for name, (inputs, outputs, _) in GRAPHS.items()},
        sizes={"L": SizeRange(1, 3, 200)},
        tokenizer="tokenizer.json",
        golden="golden.npz",
        files={path.name: file_entry(path) for path in sorted(folder.iterdir())},
    )
    write_manifest(folder / BUNDLE_MANIFEST, manifest)
    return Bundle(folder)


class Keyring:
    """A server's folder of keys, and a folder with the keys of clients, let in or not."""

    def __init__(self, folder: Path) -> None:
        self.server, self.homes = folder / "server", folder / "homes"
        write_pair(self.server, "server", make_pair())

    def client(self, name: str, *, allowed: bool = True) -> ClientKeys:
        """Make the keys of a client."""
        _, secret = write_pair(self.homes, name, make_pair())
        keys = ClientKeys.load(secret, self.server / "server.key")
        if allowed:
            self.allow(name, keys)
        return keys

    def allow(self, name: str, keys: ClientKeys) -> None:
        write_public(self.listed(name), name, keys.own.public)

    def listed(self, name: str) -> Path:
        """Return the file that lets a client in."""
        return self.server / "clients" / f"{name}.key"


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keyring")
