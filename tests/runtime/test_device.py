import dataclasses
from pathlib import Path

import pytest

from st4vla.contracts.command_line import main
from st4vla.contracts.errors import UsageError
from st4vla.runtime.device import this_device
from st4vla.runtime.engines.catalogue import BACKENDS, choose_backend


def test_a_jetson_is_known_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st4vla.runtime.device._gpu", lambda: None)
    for name, text in {
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1\nmore\n",
        "var/lib/nvpmodel/status": "pmode:0000\n",
        "proc/cpuinfo": "processor : 0\nmodel name : ARMv8 Processor rev 1 (v8l)\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    device = this_device(tmp_path)
    assert device.gpu is not None
    assert device.gpu.name == "NVIDIA Jetson AGX Orin Developer Kit"
    assert device.jetpack == "# R36 (release), REVISION: 4.3, GCID: 1"
    assert device.power_mode == "pmode:0000"
    assert device.processor == "ARMv8 Processor rev 1 (v8l)"


def test_hardware_threads_of_one_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 5, 6})
    for cpu, siblings in {0: "0,4", 1: "1,5", 2: "2,6", 5: "1,5"}.items():
        path = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(f"{siblings}\n")
    # Nothing is known of the last one, which counts.
    assert this_device(tmp_path).cores == 4


def test_only_engines_that_run_on_the_cpu_depend_on_its_cores() -> None:
    device = dataclasses.replace(this_device(), cores=6)
    assert {backend.name: device.fingerprint(backend).cores for backend in BACKENDS} == {
        "tensorrt": 0,
        "tensorrt_rtx": 0,
        "onnxruntime": 6,
    }


def test_a_fingerprint_names_what_differs() -> None:
    device = this_device()
    ours = device.fingerprint(BACKENDS[0])
    theirs = dataclasses.replace(device, power_mode="15W").fingerprint(BACKENDS[0])
    assert ours.differences(ours) == []
    assert theirs.differences(ours) == [f"power_mode: '15W' here, {device.power_mode!r} there"]


def test_an_unknown_back_end_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown back end 'tflite'; known are tensorrt, tensorrt_rtx, onnxruntime"):
        choose_backend("tflite")


def test_the_doctor_names_the_back_end_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "onnxruntime" in out
    assert "runs on the CPU" in out
    assert "there is no NVIDIA driver on this machine" in out
    assert "resizing" in out
    assert '"backend":"onnxruntime"' in out.splitlines()[-1]
