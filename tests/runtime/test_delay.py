from st4vla.runtime.delay import DelayEstimator


def test_before_anything_is_measured_the_initial_delay_holds_with_its_margin() -> None:
    assert DelayEstimator(100, margin=0.5).estimate_ns == 150


def test_one_slow_chunk_among_others_changes_nothing() -> None:
    delay = DelayEstimator(100, margin=0.0)
    for sample in (10, 10, 5000, 10, 10):
        delay.add(sample)
    assert delay.estimate_ns == 10


def test_a_lasting_change_is_followed() -> None:
    delay = DelayEstimator(100, margin=0.0)
    for sample in [10] * 20 + [30] * 4:
        delay.add(sample)
    assert delay.estimate_ns == 30


def test_what_cannot_be_a_delay_is_ignored() -> None:
    delay = DelayEstimator(100, margin=0.0)
    delay.add(-5)
    delay.add(0)
    assert delay.estimate_ns == 100
