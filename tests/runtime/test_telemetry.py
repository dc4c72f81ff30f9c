from st4vla.runtime.telemetry import percentiles


def test_percentiles_are_named_and_rounded() -> None:
    assert percentiles([1.0, 2.0, 3.004], (50, 100)) == {"p50": 2.0, "max": 3.0}


def test_percentiles_of_nothing_are_none() -> None:
    assert percentiles([], (50, 95)) == {"p50": None, "p95": None}
