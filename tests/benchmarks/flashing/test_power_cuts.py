"""Power cuts at steps, before changes to files, and at random instants; `st4vla bench-flash cuts` does many more."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from st4vla.benchmarks.flashing import cuts_bench
from st4vla.benchmarks.flashing.power_cuts import CutDevice, cut_at_random, cut_at_steps
from st4vla.benchmarks.flashing.powered_device import QUICK
from st4vla.contracts.device_status import STEPS
from st4vla.contracts.manifests import Bundle

TINY = Path(__file__).parents[3] / "bundles/tiny"


def cuts_at_steps(folder: Path) -> list[str]:
    """Return the step that each cut was at, by the device's record."""
    device = CutDevice(folder, Bundle(TINY), QUICK, seed=1)
    with device.device:
        device.begin()
        return [cut.step for cut in cut_at_steps(device)]


def random_cuts(folder: Path) -> int:
    device = CutDevice(folder, Bundle(TINY), QUICK, seed=2)
    with device.device:
        device.begin()
        return len(list(cut_at_random(device, 6)))


def test_a_device_comes_up_whole_after_a_cut_at_every_step_and_at_random_instants(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        steps = threads.submit(cuts_at_steps, tmp_path / "steps")
        count = threads.submit(random_cuts, tmp_path / "random")
        # Some steps are so short that a cut falls into the next one.
        assert len(set(steps.result())) >= len(STEPS) - 3, steps.result()
        assert count.result() == 6


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_device_comes_up_whole_after_500_cuts_at_random_instants(tmp_path: Path) -> None:
    figures, missed = cuts_bench.run(tmp_path, TINY, cuts=500, changes=False, parallel=3, seed=7)
    assert figures["cuts"] >= 500
    assert not missed


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_device_comes_up_whole_after_a_cut_before_every_change_to_its_files(tmp_path: Path) -> None:
    figures, missed = cuts_bench.run(tmp_path, TINY, cuts=3, changes=True, parallel=3, seed=8)
    assert figures["cuts"] >= 60
    assert not missed
