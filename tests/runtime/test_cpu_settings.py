"""Settings are chosen from what was measured, kept with the engines and served with; no test asks how fast it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.errors import ManifestError
from st4vla.contracts.files import write_manifest
from st4vla.contracts.manifests import ENGINES_MANIFEST, Bundle, CpuSettings, DeviceFingerprint
from st4vla.contracts.tensor_spec import GraphTensors
from st4vla.runtime import cpu_settings
from st4vla.runtime.bundle_policy import BundlePolicy
from st4vla.runtime.compiling import compile_bundle, open_engines
from st4vla.runtime.cpu_settings import best_settings, candidate_settings, measure_settings
from st4vla.runtime.engines.engine import Array, Engine
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.engines.onnx_runtime_engine import OnnxRuntimeEngine
from st4vla.runtime.golden import load_golden

ONE = CpuSettings(1)
HERE = DeviceFingerprint(machine="x86_64", processor="this", backend="onnxruntime", compiler="1", cores=8)


class Watched(OnnxRuntimeBackend):
    """A back end that remembers what its engines were loaded with."""

    def __init__(self) -> None:
        self.loaded: dict[str, CpuSettings | None] = {}

    def load(
        self, path: Path, tensors: GraphTensors, *, cpu: CpuSettings | None = None, urgent: bool = False
    ) -> OnnxRuntimeEngine:
        self.loaded[tensors.name] = cpu
        return super().load(path, tensors, cpu=cpu, urgent=urgent)


class Timed(Engine):
    """An engine whose runs take as long as it is told."""

    def __init__(self, now: list[float], durations_s: list[float]) -> None:
        super().__init__(GraphTensors("timed", (), (), {}))
        self._now, self._durations_s = now, durations_s
        self.closed = False

    def _run(self, feeds: Any) -> dict[str, Array]:
        del feeds
        self._now[0] += self._durations_s.pop(0) if len(self._durations_s) > 1 else self._durations_s[0]
        return {}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, dict[CpuSettings, float]]], None]:
    """Have measurements answer with injected times; a graph that is measured but was given none is an error."""

    def inject(times_ms: dict[str, dict[CpuSettings, float]]) -> None:
        def measure(load: Any, inputs: Any, candidates: list[CpuSettings]) -> dict[CpuSettings, float]:
            with load(candidates[-1]) as engine:
                engine.run(inputs)
                told = times_ms[engine.name]
            return {cpu: told.get(cpu, 100.0) for cpu in candidates}

        monkeypatch.setattr(cpu_settings, "measure_settings", measure)

    return inject


@pytest.mark.parametrize(
    ("share", "threads"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (11, [1, 2, 4, 8, 11])]
)
def test_candidates_are_powers_of_two_and_all_cores_and_one_thread_never_spins(share: int, threads: list[int]) -> None:
    candidates = candidate_settings(share)
    assert [cpu.threads for cpu in candidates if not cpu.spinning] == threads
    assert [cpu.threads for cpu in candidates if cpu.spinning] == threads[1:]
    assert len(set(candidates)) == len(candidates)


@pytest.mark.parametrize(
    ("times_ms", "best"),
    [
        ({(1, False): 10.0, (2, False): 5.0, (2, True): 4.0}, (2, True)),
        ({(1, False): 10.0, (2, False): 9.8, (2, True): 9.75}, (1, False)),
        ({(1, False): 10.0, (2, False): 9.6, (2, True): 9.5}, (2, False)),
        ({(4, True): 9.8, (4, False): 10.4, (2, True): 9.9}, (2, True)),
        ({(4, True): 1.0}, (4, True)),
    ],
)
def test_what_is_as_fast_within_noise_goes_to_fewer_threads_and_no_spinning(
    times_ms: dict[tuple[int, bool], float], best: tuple[int, bool]
) -> None:
    assert best_settings({CpuSettings(*each): time for each, time in times_ms.items()}) == CpuSettings(*best)


def test_candidates_take_turns_and_the_median_counts() -> None:
    now, loaded = [0.0], list[CpuSettings]()
    two = CpuSettings(2)
    # The first run of every turn warms up; one disturbed run changes nothing.
    durations_s = {ONE: [9.0, 0.010], two: [9.0, 0.500, 0.004]}
    engines = list[Timed]()

    def load(cpu: CpuSettings) -> Engine:
        assert all(engine.closed for engine in engines)
        loaded.append(cpu)
        engines.append(Timed(now, durations_s[cpu]))
        return engines[-1]

    times_ms = measure_settings(load, {}, [ONE, two], budget_s=20.0, clock=lambda: now[0])
    assert times_ms == pytest.approx({ONE: 10.0, two: 4.0})
    assert loaded == [ONE, two] * cpu_settings.ROUNDS
    assert all(engine.closed for engine in engines)


def test_a_graph_slower_than_the_budget_is_run_once_with_each() -> None:
    now, loaded = [0.0], list[CpuSettings]()
    seconds = {ONE: 60.0, CpuSettings(2): 40.0}

    def load(cpu: CpuSettings) -> Engine:
        loaded.append(cpu)
        return Timed(now, [seconds[cpu]])

    times_ms = measure_settings(load, {}, list(seconds), clock=lambda: now[0])
    assert times_ms == pytest.approx({cpu: each * 1e3 for cpu, each in seconds.items()})
    assert loaded == list(seconds)
    assert now == [pytest.approx(200.0)]


def test_settings_are_kept_with_the_engines_and_served_with(
    bundle: Bundle, tmp_path: Path, measured: Callable[[dict[str, dict[CpuSettings, float]]], None]
) -> None:
    best = {"bridge": CpuSettings(4, spinning=True), "sampler": CpuSettings(2), "planner": CpuSettings(4)}
    measured({name: {cpu: 1.5} for name, cpu in best.items()})
    target, backend, said = tmp_path / "engines", Watched(), list[str]()
    made = compile_bundle(bundle, backend, HERE, target, report=said.append)
    assert {name: entry.cpu for name, entry in made.engines.items()} == best
    assert {entry.latency_ms for entry in made.engines.values()} == {1.5}
    assert "bridge: 4 threads, spinning, 1.50 ms, best of 7 settings; its share is 7 cores" in said
    assert "planner: 4 threads, 1.50 ms, best of 5 settings; its share is 4 cores" in said
    found = open_engines(target, bundle, HERE)
    assert found == made
    with BundlePolicy(bundle, found, target, backend) as policy:
        assert backend.loaded == best
        policy.warm_up()
    with BundlePolicy(bundle, found, target, backend, system1_threads=3):
        assert backend.loaded == {"planner": best["planner"], "bridge": CpuSettings(3), "sampler": CpuSettings(3)}
    with BundlePolicy(bundle, found, target, backend, system2_threads=3):
        assert backend.loaded == best | {"planner": CpuSettings(3)}


@pytest.mark.parametrize(
    ("cores", "best", "shares"),
    [
        (1, {}, (1, 1, 1)),
        (2, {}, (1, 1, 1)),
        (4, {"bridge": CpuSettings(3), "sampler": CpuSettings(2)}, (3, 3, 1)),
        (4, {"bridge": ONE, "sampler": ONE, "planner": CpuSettings(3)}, (3, 3, 3)),
        (8, {"bridge": CpuSettings(2), "sampler": CpuSettings(4), "planner": CpuSettings(4)}, (7, 7, 4)),
    ],
)
def test_neither_system_takes_the_cores_that_the_other_was_measured_with(
    *,
    bundle: Bundle,
    tmp_path: Path,
    measured: Callable[[dict[str, dict[CpuSettings, float]]], None],
    cores: int,
    best: dict[str, CpuSettings],
    shares: tuple[int, ...],
) -> None:
    measured({name: {cpu: 1.0} for name, cpu in best.items()})
    here, said = msgspec.structs.replace(HERE, cores=cores), list[str]()
    made = compile_bundle(bundle, OnnxRuntimeBackend(), here, tmp_path / "engines", report=said.append)
    found = {line.partition(":")[0]: int(line.split()[-2]) for line in said if "its share is" in line}
    assert found == dict(zip(("bridge", "sampler", "planner"), shares, strict=True))
    assert {name: entry.cpu for name, entry in made.engines.items()} == {
        name: best.get(name, ONE) for name in made.engines
    }
    taken = {name: entry.cpu.threads for name, entry in made.engines.items() if entry.cpu}
    assert max(taken["bridge"], taken["sampler"]) + taken["planner"] <= max(cores, 2)


def test_a_real_measurement_takes_one_of_the_candidates(bundle: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "engine"
    OnnxRuntimeBackend().compile(bundle.path("sampler.onnx"), target, bundle.tensors("sampler"), cache=tmp_path)
    times_ms = measure_settings(
        lambda cpu: OnnxRuntimeBackend().load(target, bundle.tensors("sampler"), cpu=cpu),
        load_golden(bundle, "sampler")[0],
        candidate_settings(2),
        budget_s=0.01,
    )
    assert best_settings(times_ms) in candidate_settings(2)


def test_engines_that_do_not_run_on_the_cpu_have_no_settings(bundle: Bundle, tmp_path: Path) -> None:
    here = msgspec.structs.replace(HERE, cores=0)
    made = compile_bundle(bundle, OnnxRuntimeBackend(), here, tmp_path / "engines")
    assert {entry.cpu for entry in made.engines.values()} == {None}


def test_settings_without_a_thread_are_refused(
    bundle: Bundle, tmp_path: Path, measured: Callable[[dict[str, dict[CpuSettings, float]]], None]
) -> None:
    with pytest.raises(ValueError, match="at least 1 thread, not 0"):
        CpuSettings(0)
    measured({})
    target = tmp_path / "engines"
    here = msgspec.structs.replace(HERE, cores=2)
    compile_bundle(bundle, OnnxRuntimeBackend(), here, target)
    path = target / ENGINES_MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"threads": 1', b'"threads": 0'))
    with pytest.raises(ManifestError, match="at least 1 thread, not 0"):
        open_engines(target, bundle, here)


def test_engines_of_the_format_before_are_compiled_again(bundle: Bundle, tmp_path: Path) -> None:
    here, target = msgspec.structs.replace(HERE, cores=0), tmp_path / "engines"
    made = compile_bundle(bundle, OnnxRuntimeBackend(), here, target)
    write_manifest(target / ENGINES_MANIFEST, msgspec.structs.replace(made, format_version=1))
    assert compile_bundle(bundle, OnnxRuntimeBackend(), here, target).format_version == 2


def test_the_command_says_and_returns_the_settings(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("st4vla.runtime.device._cores", lambda _: 2)
    assert main(["compile", str(bundle.folder), "--out", str(tmp_path / "engines"), "--backend", "onnxruntime"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("planner", "bridge", "sampler"):
        assert any(line.startswith(f"{name}: 1 thread, ") for line in lines)
    assert json.loads(lines[-1])["cpu"] == {
        name: {"threads": 1, "spinning": False} for name in ("planner", "bridge", "sampler")
    }


@pytest.mark.parametrize("option", ["--system1-threads", "--system2-threads"])
def test_serving_without_a_thread_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main(["serve", str(tmp_path), option, "0"]) == 2
    assert f"{option} 0: must be positive" in capsys.readouterr().err
