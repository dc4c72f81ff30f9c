from pathlib import Path

import pytest

from st4vla.benchmarks.flashing import fleet_bench

TINY = Path(__file__).parents[3] / "bundles/tiny"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_devices_at_once_and_a_bundle_that_a_tenth_cannot_take(tmp_path: Path) -> None:
    figures, missed = fleet_bench.run(tmp_path, TINY, 50)
    assert not missed, figures
