from pathlib import Path

from st4vla.benchmarks.flashing import driving_bench

TINY = Path(__file__).parents[3] / "bundles/tiny"


def test_an_arm_is_driven_from_a_flashed_policy_while_the_next_one_is_flashed(tmp_path: Path) -> None:
    # How late chunks are meanwhile is for `bench-flash drive`, on a machine that does nothing else.
    figures, _ = driving_bench.run(tmp_path, TINY, flashes=1)
    assert (figures["first_flash"], figures["flashed"], figures["refused"]) == ("flashed", ["flashed"], 0), figures
    assert figures["connections"] <= 2
    assert figures["building"]["chunks"] > 0
    assert figures["switching"]["chunks"] > 0


def test_what_falls_short_is_said() -> None:
    good = {
        "first_flash": "flashed",
        "flashed": ["flashed"],
        "messages": [],
        "building": {"late_share": 0.03},
        "undisturbed": {"late_share": 0.02},
        "connections": 2,
        "refused": 0,
    }
    assert driving_bench.missed(good, 1) == []
    for changed in (
        {"first_flash": "failed"},
        {"flashed": ["rolled back"]},
        {"building": {"late_share": 0.05}},
        {"connections": 3},
        {"refused": 1},
    ):
        assert len(driving_bench.missed(good | changed, 1)) == 1
