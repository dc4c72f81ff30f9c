from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from st4vla.contracts.manifests import ENGINES_MANIFEST, Bundle, BundleManifest, DeviceFingerprint
from st4vla.contracts.tensor_spec import SizeRange
from st4vla.runtime.compiling import compile_bundle, open_engines
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.reusing import EarlierEngines

HERE = DeviceFingerprint(machine="x86_64", processor="this", backend="onnxruntime", compiler="1")


@pytest.fixture
def earlier(bundle: Bundle, tmp_path: Path) -> EarlierEngines:
    compile_bundle(bundle, OnnxRuntimeBackend(), HERE, tmp_path / "earlier")
    found = EarlierEngines.read(bundle.folder, tmp_path / "earlier")
    assert found is not None
    return found


def test_engines_of_unchanged_graphs_are_taken_and_are_whole(
    bundle: Bundle, earlier: EarlierEngines, tmp_path: Path
) -> None:
    said = list[str]()
    compile_bundle(bundle, OnnxRuntimeBackend(), HERE, tmp_path / "again", reuse=earlier, report=said.append)
    assert [line.split(",")[0] for line in said[:3]] == [
        f"{name}: taken as it was" for name in ("planner", "bridge", "sampler")
    ]
    engines = open_engines(tmp_path / "again", bundle, HERE)
    for name in engines.files:
        assert (tmp_path / "again" / name).samefile(earlier.folder / name)


@pytest.mark.parametrize(
    "change",
    [
        lambda bundle: msgspec.structs.replace(bundle, sizes={"L": SizeRange(1, 3, 100)}),
        lambda bundle: msgspec.structs.replace(
            bundle, files=bundle.files | {"planner.onnx": msgspec.structs.replace(bundle.files["planner.onnx"], size=1)}
        ),
        lambda bundle: msgspec.structs.replace(
            bundle, files=bundle.files | {"planner.onnx.data": bundle.files["planner.onnx"]}
        ),
        lambda bundle: msgspec.structs.replace(
            bundle,
            graphs=bundle.graphs | {"planner": msgspec.structs.replace(bundle.graphs["planner"], file="bridge.onnx")},
        ),
    ],
)
def test_an_engine_of_another_graph_is_not_taken(
    bundle: Bundle,
    earlier: EarlierEngines,
    tmp_path: Path,
    change: Callable[[BundleManifest], BundleManifest],
) -> None:
    assert earlier.fit(bundle.manifest, "planner", HERE)
    assert not earlier.take(change(bundle.manifest), "planner", HERE, tmp_path)
    assert not (tmp_path / "planner.engine").exists()


def test_an_engine_of_another_device_or_that_is_not_whole_is_not_taken(
    bundle: Bundle, earlier: EarlierEngines, tmp_path: Path
) -> None:
    assert not earlier.take(bundle.manifest, "planner", msgspec.structs.replace(HERE, driver="2"), tmp_path)
    (tmp_path / "bridge.engine").write_bytes(b"in the way")
    assert not earlier.take(bundle.manifest, "bridge", HERE, tmp_path)
    assert not (tmp_path / "bridge.engine").exists()
    (earlier.folder / "planner.engine").write_bytes(b"")
    assert not earlier.take(bundle.manifest, "planner", HERE, tmp_path)
    (earlier.folder / ENGINES_MANIFEST).unlink()
    assert EarlierEngines.read(bundle.folder, earlier.folder) is None
