import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from st4vla.contracts.device_status import STEPS
from st4vla.contracts.errors import (
    BudgetError,
    CancelledError,
    DeviceBusyError,
    DowngradeError,
    FileAlteredError,
    FileMissingError,
    FlashError,
    ParityError,
    PreflightError,
    SignatureError,
    St4vlaError,
    StorageError,
)
from st4vla.contracts.files import file_entry, write_manifest
from st4vla.contracts.flash_messages import Progress
from st4vla.contracts.manifests import BUNDLE_MANIFEST, Bundle
from st4vla.contracts.release import LatencyBudget, Requirements
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.flashing.build_job import BuildJob, Built
from st4vla.runtime.flashing.build_work import do_job
from st4vla.runtime.flashing.config import BuildConfig, DeviceConfig, ServeConfig
from st4vla.runtime.flashing.installing import Installer
from st4vla.runtime.flashing.locking import locked
from st4vla.runtime.flashing.offers import Offer
from st4vla.runtime.flashing.record import Record
from st4vla.runtime.flashing.recovering import recover
from st4vla.runtime.flashing.slots import read_slot, verify_slot
from st4vla.runtime.flashing.state import Committed, DeviceState, SlotRecord, write_state
from st4vla.runtime.flashing.store import Store

CONFIG = DeviceConfig(serve=ServeConfig(backend="onnxruntime"))
HERE = this_device().fingerprint(OnnxRuntimeBackend())
INSTALL_STEPS = STEPS[STEPS.index("verify") : STEPS.index("switch")]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[BuildJob]:
    """Build in this process, which need not load an engine library first; return the jobs that were done."""
    jobs: list[BuildJob] = []

    def run(job: BuildJob, *, say: Callable[[Any], None], **_: object) -> Built:
        jobs.append(job)
        return do_job(job, say)

    monkeypatch.setattr("st4vla.runtime.flashing.build_slot.run_build", run)
    return jobs


def install(
    device: Any,
    offer: Offer,
    slot: Any = "a",
    *,
    config: DeviceConfig = CONFIG,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    on_step: Callable[[Any, Any], None] = lambda _, __: None,
    serving: bool = False,
) -> SlotRecord:
    installer = Installer(device.layout, config, Record(device.layout.record), on_step)
    return installer.install(offer, slot, attempt="f1", progress=progress, cancelled=cancelled, serving=serving)


def test_a_bundle_is_installed_step_by_step_and_every_step_is_written_down(device: Any, bundle: Bundle) -> None:
    told, moments = list[Progress](), list[tuple[str, str]]()
    offer = device.bring(bundle, 3)
    record = install(device, offer, progress=told.append, on_step=lambda *moment: moments.append(moment))
    assert read_slot(device.layout, "a") == record
    assert (record.bundle_digest, record.counter, record.key_id) == (bundle.digest, 3, device.key.key_id)
    assert (record.attempt, record.note) == ("f1", "faster")
    verify_slot(device.layout, "a", HERE)
    assert moments == [(step, moment) for step in INSTALL_STEPS for moment in ("begin", "end")]
    assert tuple(dict.fromkeys(one.step for one in told)) == INSTALL_STEPS
    assert [one.fraction for one in told if one.fraction is not None][-1] == 1.0
    lines = Record(device.layout.record).read()
    assert tuple(dict.fromkeys(line.step for line in lines if line.event == "step")) == INSTALL_STEPS
    assert any("planner: compiled in" in line.text for line in lines)
    assert not device.layout.state.exists()


def test_a_graph_that_the_other_slot_has_compiled_is_taken_and_checked_anew(
    device: Any, bundle: Bundle, variant: Callable[..., Bundle], in_process: list[BuildJob]
) -> None:
    install(device, device.bring(bundle), "a")
    write_state(device.layout.state, DeviceState(active="a"))
    # Behind the end of an ONNX file nothing may follow; the golden numbers are an archive, and may differ.
    other = variant("other", "golden.npz")
    told = list[str]()
    offer = device.bring(other, 2)
    installer = Installer(device.layout, CONFIG, Record(device.layout.record))
    assert "compiled would be nothing, taken as they are planner, bridge, sampler" in installer.dry_run(offer, "b")
    install(device, offer, "b", progress=lambda one: told.append(one.text))
    assert len([text for text in told if "taken as it was" in text]) == 3
    engines = [device.layout.slot(name).engines / "planner.engine" for name in ("a", "b")]
    assert engines[0].samefile(engines[1])
    verify_slot(device.layout, "b", HERE)


def test_an_engine_that_the_disk_has_altered_is_not_taken(
    device: Any, bundle: Bundle, variant: Callable[..., Bundle], in_process: list[BuildJob]
) -> None:
    install(device, device.bring(bundle), "a")
    write_state(device.layout.state, DeviceState(active="a"))
    engine = device.layout.slot("a").engines / "planner.engine"
    engine.write_bytes(engine.read_bytes()[:-1] + b"x")
    told = list[str]()
    install(device, device.bring(variant("other"), 2), "b", progress=lambda one: told.append(one.text))
    assert any("planner: compiled in" in text for text in told)
    assert len([text for text in told if "taken as it was" in text]) == 2
    verify_slot(device.layout, "b", HERE)


def test_a_build_comes_last_only_beside_a_policy_that_serves(
    device: Any, bundle: Bundle, in_process: list[BuildJob]
) -> None:
    offer = device.bring(bundle)
    install(device, offer, serving=False)
    assert {job.nice for job in in_process} == {None}
    in_process.clear()
    install(
        device, offer, serving=True, config=msgspec.structs.replace(CONFIG, build=BuildConfig(memory_bytes=1 << 31))
    )
    assert [(job.action, job.nice) for job in in_process] == [("compile", 19), ("warm_up", 19)]
    assert all(job.memory_bytes is not None and job.memory_bytes <= 1 << 31 for job in in_process)


REFUSALS: dict[str, tuple[Callable[[Any, Bundle], Any], type[St4vlaError], str]] = {
    "key revoked": (lambda device, _: device.layout.trust.write_bytes(b"{}"), SignatureError, "not a signed statement"),
    "older": (
        lambda device, bundle: write_state(
            device.layout.state, DeviceState(committed={bundle.manifest.name: Committed(9, "ab")})
        ),
        DowngradeError,
        "this device has committed 9 already",
    ),
    "object missing": (
        lambda device, bundle: device.layout.object(bundle.manifest.files["planner.onnx"].sha256).unlink(),
        FileMissingError,
        r"planner\.onnx \(object .* is not on this device; offer the bundle again",
    ),
    "object altered": (
        lambda device, bundle: spoil(device.layout.object(bundle.manifest.files["planner.onnx"].sha256)),
        FileAlteredError,
        r"planner\.onnx is not what was stored .* it is thrown away; flash again",
    ),
    "offer dropped": (
        lambda device, bundle: shutil.rmtree(device.layout.offer(bundle.digest)),
        FlashError,
        "was offered to this device; offer it first",
    ),
    "slot serves": (
        lambda device, _: write_state(device.layout.state, DeviceState(active="a")),
        FlashError,
        "slot a serves",
    ),
}


def spoil(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("what", REFUSALS)
def test_what_is_not_to_be_installed_is_refused_before_the_slot_is_touched(
    device: Any, bundle: Bundle, what: str
) -> None:
    offer = device.bring(bundle)
    device.layout.slot("a").bundle.mkdir(parents=True)
    device.layout.slot("a").record.write_text("what was there before")
    change, error, match = REFUSALS[what]
    change(device, bundle)
    with pytest.raises(error, match=match):
        install(device, offer)
    assert device.layout.slot("a").record.read_text() == "what was there before"


def test_an_object_that_was_altered_is_asked_for_again(device: Any, bundle: Bundle) -> None:
    offer = device.bring(bundle)
    entry = bundle.manifest.files["planner.onnx"]
    spoil(device.layout.object(entry.sha256))
    with pytest.raises(FileAlteredError):
        install(device, offer)
    (wanted,) = Store(device.layout).missing(bundle.manifest.files)
    assert wanted.sha256 == entry.sha256


def test_another_machine_is_named_with_its_step(device: Any, bundle: Bundle) -> None:
    offer, told = device.bring(bundle, requires=Requirements(machines=("sparc",))), list[Progress]()
    with pytest.raises(PreflightError, match="it is for sparc, and this machine is"):
        install(device, offer, progress=told.append)
    assert told[-1].step == "preflight"
    with pytest.raises(PreflightError, match="it is for sparc, and this machine is"):
        Installer(device.layout, CONFIG, Record(device.layout.record)).dry_run(offer, "a")


def test_engines_that_answer_otherwise_are_refused_at_the_step_parity(
    device: Any, bundle: Bundle, in_process: list[BuildJob]
) -> None:
    with np.load(bundle.path("golden.npz")) as archive:
        golden = dict(archive)
    golden["bridge/output/condition"] = golden["bridge/output/condition"] * np.float32(1.5)
    np.savez(bundle.path("golden.npz"), **golden)
    files = bundle.manifest.files | {"golden.npz": file_entry(bundle.path("golden.npz"))}
    write_manifest(bundle.path(BUNDLE_MANIFEST), msgspec.structs.replace(bundle.manifest, files=files))
    told = list[Progress]()
    with pytest.raises(ParityError, match="engine 'bridge' of onnxruntime differs from the golden outputs"):
        install(device, device.bring(Bundle(bundle.folder)), progress=told.append)
    assert told[-1].step == "parity"
    assert not device.layout.slot("a").folder.exists()


@pytest.mark.parametrize(
    ("budget", "system"), [(LatencyBudget(system1_ms=1e-6), 1), (LatencyBudget(system1_ms=1e6, system2_ms=1e-6), 2)]
)
def test_engines_that_are_too_slow_are_measured_three_times_and_refused(
    device: Any, bundle: Bundle, in_process: list[BuildJob], budget: LatencyBudget, system: int
) -> None:
    offer, told = device.bring(bundle, budget=budget), list[Progress]()
    with pytest.raises(
        BudgetError,
        match=rf"'trial' is slower .*: System {system} takes \d+\.\d\d ms, allowed are 1e-06 \(the last of 3 measurem",
    ):
        install(device, offer, progress=told.append, serving=True)
    # As a server runs, not behind the one that serves.
    assert [(job.action, job.nice) for job in in_process[2:]] == [("measure", None)] * 2
    assert told[-1].step == "latency"
    assert not device.layout.slot("a").folder.exists()


def test_engines_that_were_slow_only_while_they_were_built_pass(
    device: Any, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, in_process: list[BuildJob]
) -> None:
    times = iter([["System 1 takes 9.00 ms, allowed are 5"], []])
    monkeypatch.setattr("st4vla.runtime.flashing.installing.over_budget", lambda *_: next(times))
    install(device, device.bring(bundle, budget=LatencyBudget(system1_ms=5.0)))
    assert [job.action for job in in_process] == ["compile", "warm_up", "measure"]
    verify_slot(device.layout, "a", HERE)


@pytest.mark.parametrize("step", INSTALL_STEPS)
def test_a_flash_that_is_no_longer_wanted_ends_and_leaves_an_empty_slot(
    device: Any, bundle: Bundle, in_process: list[BuildJob], step: str
) -> None:
    begun = list[str]()

    def on_step(name: str, moment: str) -> None:
        begun.append(f"{name} {moment}")

    before = INSTALL_STEPS[INSTALL_STEPS.index(step) - 1] + " end"  # type: ignore[arg-type]
    with pytest.raises(CancelledError, match=f"cancelled at the step {step}; the policy that serves was not touched"):
        install(
            device,
            device.bring(bundle),
            on_step=on_step,
            cancelled=lambda: step == INSTALL_STEPS[0] or before in begun,
        )
    assert f"{step} begin" not in begun
    assert not device.layout.slot("a").folder.exists()


def test_only_one_is_installed_at_a_time(device: Any, bundle: Bundle) -> None:
    offer = device.bring(bundle)
    with (
        locked(device.layout.installing, "installs"),
        pytest.raises(DeviceBusyError, match="another process installs a bundle on this device"),
    ):
        install(device, offer)


@pytest.mark.parametrize("step", ["stage", "compile", "latency"])
def test_a_full_disk_ends_in_a_sentence_and_an_empty_slot(
    device: Any, bundle: Bundle, in_process: list[BuildJob], step: str
) -> None:
    def full(name: str, moment: str) -> None:
        if (name, moment) == (step, "end"):
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"is full \(\d+ bytes are free\) while 'trial' is installed; nothing is"):
        install(device, device.bring(bundle), on_step=full)
    assert not device.layout.slot("a").folder.exists()
    install(device, device.bring(bundle))


def killed_at(device: Any, offer: Offer, step: str, moment: str) -> None:
    """Install in a process that is killed there, as if the power had gone."""

    def on_step(*at: str) -> None:
        if at == (step, moment):
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(
        target=install, args=(device, offer, "b"), kwargs={"on_step": on_step}
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def test_whenever_the_power_goes_the_other_slot_is_whole_and_the_next_flash_succeeds(
    device: Any, bundle: Bundle, other_bundle: Bundle, in_process: list[BuildJob]
) -> None:
    layout = device.layout
    install(device, device.bring(bundle), "a")
    write_state(layout.state, DeviceState(active="a"))
    offer = device.bring(other_bundle, 2)
    for step, moment in [*((step, "begin") for step in INSTALL_STEPS), (INSTALL_STEPS[-1], "end")]:
        killed_at(device, offer, step, moment)
        recover(layout)
        verify_slot(layout, "a", HERE)
        assert read_slot(layout, "b") is None
        assert not layout.slot("b").folder.exists()
        assert recover(layout) == []
    assert Store(layout).missing(other_bundle.manifest.files) == ()
    install(device, offer, "b")
    verify_slot(layout, "b", HERE)
    verify_slot(layout, "a", HERE)
