from pathlib import Path

from st4vla.benchmarks.flashing import driving_bench

TINY = Path(__file__).parents[3] / "bundles/tiny"


def test_an_arm_is_driven_from_a_flashed_policy_while_the_next_one_is_flashed(tmp_path: Path) -> None:
    figures, missed = driving_bench.run(tmp_path, TINY, flashes=1)
    assert not missed, figures
    assert figures["connections"] <= 2
    assert figures["building"]["chunks"] > 0
