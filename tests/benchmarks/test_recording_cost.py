from pathlib import Path

import numpy as np
import pytest

from st4vla.benchmarks.recording_cost import WAYS, measure_way


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_record_is_measured_and_leaves_nothing_behind(way: str, tmp_path: Path) -> None:
    pictures = list(np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8))
    cost = measure_way(way, pictures, tmp_path, hz=200, seconds=0.4)
    assert (cost.way, cost.failed) == (way, None)
    assert cost.cpu_percent > 0
    assert 10 < cost.age_ms[0] <= cost.age_ms[1], "a chunk takes 10 ms to make"
    assert (cost.written_mb_s == 0) == (way == "not recorded")
    assert not list(tmp_path.iterdir())
