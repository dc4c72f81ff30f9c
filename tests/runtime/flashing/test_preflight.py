from typing import Any

import msgspec
import pytest

from st4vla.contracts.device_status import Machine
from st4vla.contracts.errors import PreflightError
from st4vla.contracts.manifests import Bundle
from st4vla.contracts.release import RELEASE_FORMAT, Release, Requirements
from st4vla.runtime.flashing.config import PreflightConfig
from st4vla.runtime.flashing.preflight import PROCESS_BYTES, Needs, check_preflight, graph_bytes, needs_of

MIB = 1 << 20
ORIN = Machine(
    machine="aarch64",
    model="NVIDIA Jetson AGX Orin Developer Kit",
    jetpack="36.4.3",
    power_mode="MAXN",
    backend="tensorrt 10.3.0",
    memory_bytes=64 << 30,
    disk_free_bytes=100 << 30,
    temperature_c=50.0,
    supply_v=19.0,
    battery_percent=90.0,
)
NEEDS = Needs(disk_bytes=1000 * MIB, build_bytes=2000 * MIB, serve_bytes=1000 * MIB)
WANTED = Requirements(("aarch64", "riscv64"), ("36.4", "38"), ("tensorrt",), ("MAXN", "50W"), 32 << 30)
LIMITS = PreflightConfig(min_supply_v=9.0)


def check(
    machine: Machine = ORIN,
    requires: Requirements = WANTED,
    limits: PreflightConfig = LIMITS,
    available: int | None = 32 << 30,
    cap: int | None = None,
) -> None:
    release = Release(RELEASE_FORMAT, "trial", "ab", 1, "", requires)
    check_preflight(machine, release, NEEDS, limits, memory_available=available, memory_cap=cap)


def test_a_device_that_is_as_wanted_passes_and_so_does_one_that_shows_nothing() -> None:
    check()
    silent = msgspec.structs.replace(ORIN, temperature_c=None, supply_v=None, battery_percent=None)
    check(silent, available=None)
    check(msgspec.structs.replace(silent, jetpack="", power_mode="", machine="x86_64"), requires=Requirements())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"machine": "x86_64"},
            "it is for aarch64 or riscv64, and this machine is x86_64: flash a bundle for that",
        ),
        ({"jetpack": "35.6.0"}, "it is for L4T 36.4 or 38, and this machine has L4T 35.6.0: update JetPack first"),
        ({"jetpack": "36.40.0"}, "it is for L4T 36.4 or 38, and this machine has L4T 36.40.0"),
        ({"jetpack": ""}, r"this machine has no L4T \(/etc/nv_tegra_release\)"),
        (
            {"backend": "onnxruntime 1.20.0"},
            "for engines of tensorrt, and this device serves with onnxruntime 1.20.0: set serve.backend in device.json",
        ),
        ({"backend": ""}, "this device serves with no engine library that works"),
        (
            {"power_mode": "30W"},
            "it is for the power mode MAXN or 50W, and this machine is in 30W: change it with `nvpmodel -m`",
        ),
        ({"power_mode": ""}, r"this machine is in none \(/var/lib/nvpmodel/status\)"),
        ({"memory_bytes": 16 << 30}, "for machines with 32768 MiB of memory, and this one has 16384 MiB: flash a sma"),
        ({"temperature_c": 91.25}, "the hottest thermal zone is at 91.2 °C, allowed are 85: let it cool down"),
        ({"supply_v": 7.5}, "the supply gives 7.50 V, wanted are 9: look at its cable"),
        ({"battery_percent": 12.0}, "the battery is at 12 %, wanted are 20: charge it"),
        (
            {"disk_free_bytes": 1200 * MIB},
            "the disk has 56 MiB too few: engines take about 1000 MiB, 256 MiB must stay",
        ),
    ],
)
def test_each_thing_that_is_wrong_is_named_with_what_is_wanted_and_what_to_do(
    change: dict[str, Any], match: str
) -> None:
    with pytest.raises(PreflightError, match=f"^'trial' is not installed: .*{match}") as caught:
        check(msgspec.structs.replace(ORIN, **change))
    assert ";" not in str(caught.value)


def test_memory_that_is_taken_or_not_allowed_is_found_before_the_build() -> None:
    with pytest.raises(
        PreflightError, match="compiling takes about 2000 MiB of memory, 256 MiB must stay free, and 2100"
    ):
        check(available=2100 * MIB)
    with pytest.raises(PreflightError, match=r"build\.memory_bytes in device\.json allows 1999 MiB: raise that"):
        check(cap=1999 * MIB)
    check(available=2256 * MIB, cap=2000 * MIB)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(PreflightError, match=r"this machine is x86_64.*; .*MAXN.*; the battery") as caught:
        check(msgspec.structs.replace(ORIN, machine="x86_64", power_mode="15W", battery_percent=1.0))
    assert str(caught.value).count(";") == 2


def test_a_limit_that_is_not_set_holds_nobody() -> None:
    check(msgspec.structs.replace(ORIN, supply_v=1.0), limits=PreflightConfig())


def test_needs_follow_the_graphs_with_the_weights_beside_them(bundle: Bundle) -> None:
    files = dict(bundle.manifest.files)
    files["planner.onnx.data"] = msgspec.structs.replace(files["planner.onnx"], size=100 * MIB)
    # No other's weights, though its name begins so.
    files["planner.onnx2"] = files["planner.onnx.data"]
    grown = msgspec.structs.replace(bundle.manifest, files=files)
    planner = 100 * MIB + files["planner.onnx"].size
    assert graph_bytes(grown, "planner") == planner
    others = graph_bytes(grown, "bridge") + graph_bytes(grown, "sampler")
    needs = needs_of(grown)
    assert needs.build_bytes - PROCESS_BYTES == pytest.approx(3.1 * planner, abs=1)
    assert needs.disk_bytes == pytest.approx(1.1 * (planner + others), abs=1)
    assert needs.serve_bytes == needs.disk_bytes + PROCESS_BYTES
