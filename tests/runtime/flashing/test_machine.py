from pathlib import Path

import pytest

from st4vla.contracts.errors import StorageError
from st4vla.runtime.engines.onnx_runtime import OnnxRuntimeBackend
from st4vla.runtime.flashing.config import DeviceConfig
from st4vla.runtime.flashing.layout import Layout
from st4vla.runtime.flashing.machine import read_machine
from st4vla.runtime.flashing.sensors import (
    available_memory,
    battery_percent,
    jetpack,
    power_mode,
    supply_v,
    temperature_c,
)

JETSON = {
    "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "proc/meminfo": "MemTotal:       64349616 kB\nMemFree:        1 kB\nMemAvailable:   51234567 kB\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\nmore\n",
    "etc/nvpmodel.conf": "# comment\n< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE 1\n< POWER_MODEL ID=2 NAME=30W >\n",
    "var/lib/nvpmodel/status": "pmode:0002\n",
    "sys/class/thermal/thermal_zone0/temp": "48500\n",
    "sys/class/thermal/thermal_zone1/temp": "51250\n",
    # A zone that is switched off.
    "sys/class/thermal/thermal_zone2/temp": "-256000\n",
    "sys/class/thermal/thermal_zone3/temp": "",
    "sys/class/hwmon/hwmon0/name": "nvme\n",
    "sys/class/hwmon/hwmon0/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon0/in1_input": "1\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in1_input": "4900\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in2_input": "19040\n",
    "sys/class/power_supply/ac/type": "Mains\n",
    "sys/class/power_supply/mouse/type": "Battery\n",
    "sys/class/power_supply/mouse/scope": "Device\n",
    "sys/class/power_supply/mouse/capacity": "3\n",
    "sys/class/power_supply/bat0/type": "Battery\n",
    "sys/class/power_supply/bat0/capacity": "81\n",
}


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    for name, text in JETSON.items():
        path = tmp_path / "system" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "system"


def test_a_jetson_is_read_from_its_files(jetson: Path, tmp_path: Path) -> None:
    machine = read_machine(DeviceConfig(system_root=str(jetson)), Layout(tmp_path), OnnxRuntimeBackend())
    assert machine.model == "NVIDIA Jetson AGX Orin Developer Kit"
    assert machine.jetpack == "36.4.3"
    assert machine.power_mode == "30W"
    assert machine.backend.startswith("onnxruntime 1.")
    assert machine.memory_bytes == 64349616 * 1024
    assert machine.disk_free_bytes > 0
    assert (machine.temperature_c, machine.supply_v, machine.battery_percent) == (51.25, 19.04, 81.0)
    assert available_memory(jetson) == 51234567 * 1024


def test_a_machine_that_shows_nothing_is_read_as_such(tmp_path: Path) -> None:
    machine = read_machine(DeviceConfig(system_root=str(tmp_path), serve=DeviceConfig().serve), Layout(tmp_path))
    assert (machine.jetpack, machine.power_mode) == ("", "")
    assert (machine.temperature_c, machine.supply_v, machine.battery_percent) == (None, None, None)
    assert machine.memory_bytes > 0
    # That of the machine itself: a limit that nobody knows would be none.
    assert (available_memory(tmp_path) or 0) > 0


def test_each_sensor_may_be_missing_or_broken(jetson: Path) -> None:
    for pattern in ("sys/class/thermal/*/temp", "sys/class/hwmon/*/in*_input", "sys/class/power_supply/*/capacity"):
        for path in jetson.glob(pattern):
            path.write_text("broken")
    assert (temperature_c(jetson), supply_v(jetson), battery_percent(jetson)) == (None, None, None)


def test_a_supply_is_found_under_its_bus_too(tmp_path: Path) -> None:
    monitor = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    monitor.mkdir(parents=True)
    for name, text in (("name", "ina3221"), ("in1_label", "VIN_SYS_5V0"), ("in1_input", "5010")):
        (monitor / name).write_text(text)
    assert supply_v(tmp_path) == 5.01


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", "36.4.3"),
        ("# R35 (release), REVISION: 6.0, GCID: 1", "35.6.0"),
        ("", ""),
        ("# R36 (release)", ""),
        ("R36 REVISION:", ""),
        ("something else", ""),
    ],
)
def test_an_l4t_release_is_read_from_its_line(line: str, found: str) -> None:
    assert jetpack(line) == found


def test_a_power_mode_without_names_is_called_by_its_number(jetson: Path) -> None:
    (jetson / "etc/nvpmodel.conf").unlink()
    assert power_mode(jetson) == "pmode:0002"
    (jetson / "var/lib/nvpmodel/status").write_text("MAXN\n")
    assert power_mode(jetson) == "MAXN"


def test_a_device_without_a_folder_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="device init"):
        read_machine(DeviceConfig(), Layout(tmp_path / "nowhere"))
