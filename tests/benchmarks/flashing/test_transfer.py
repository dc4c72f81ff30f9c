"""A bundle's way to a device beside rsync's, small enough for a test: the bytes count here, not the seconds."""

from pathlib import Path

import pytest

from st4vla.benchmarks.flashing import transfer_bench

TINY = Path(__file__).parents[3] / "bundles/tiny"


@pytest.mark.slow
def test_no_more_bytes_travel_than_with_rsync_at_first_and_when_a_graph_is_new(tmp_path: Path) -> None:
    figures, _ = transfer_bench.run(tmp_path, TINY, 15, 1)
    for trip, size in (("first", 15_000_000), ("second", 5_000_000)):
        assert size < figures[f"flash_{trip}"]["bytes"] <= figures[f"rsync_fsync_{trip}"]["bytes"]
