"""Power cuts at steps, before changes to files, and at random instants; `st4vla bench-flash cuts` does many more."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from st4vla.benchmarks.flashing import cuts_bench
from st4vla.benchmarks.flashing.power_cuts import Cut, CutDevice, cut_at_random, cut_at_steps
from st4vla.benchmarks.flashing.powered_device import QUICK
from st4vla.contracts.device_status import STEPS
from st4vla.contracts.manifests import Bundle

TINY = Path(__file__).parents[3] / "bundles/tiny"


def some_cuts(folder: Path, number: int) -> list[Cut]:
    """Cut a device's power at a fourth of the steps, and once at a random instant."""
    device = CutDevice(folder, Bundle(TINY), QUICK, seed=number)
    with device.device:
        device.begin()
        return [*cut_at_steps(device, (number, 4)), *cut_at_random(device, 1)]


def test_a_device_comes_up_whole_after_a_cut_at_every_step_and_at_random_instants(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: some_cuts(tmp_path / str(number), number), range(4)))
    cuts = [cut for some in found for cut in some]
    assert len(cuts) == len(STEPS) + 4
    # Some steps are so short that a cut falls into the next one.
    assert len({cut.step for cut in cuts}) >= len(STEPS) - 3, cuts


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
