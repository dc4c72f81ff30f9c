import numpy as np

from st4vla.export.quantization.scaling import Observed, Scaling, choose_scaling
from st4vla.export.quantization.weights import quantize_int8

ROWS, WIDTH = 96, 64


def observed(rows: np.ndarray) -> Observed:
    return Observed(rows.astype(np.float32), np.abs(rows).max(axis=0).astype(np.float32))


def normal(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((ROWS, WIDTH)).astype(np.float32)


def weight(seed: int = 1, columns: int = 32) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((WIDTH, columns)) / 8).astype(np.float32)


def error(scaling: Scaling, rows: np.ndarray, each: np.ndarray) -> float:
    """Return the squared error of what a product in int8 makes."""
    whole = quantize_int8(each * scaling.smoothing[:, None]).floats()
    return float(np.square(scaling.rounded(rows) @ whole - rows @ each).sum())


def plain(rows: np.ndarray) -> Scaling:
    return Scaling(np.ones(WIDTH, np.float32), float(np.abs(rows).max()) / 127)


def test_channels_that_stand_out_are_smoothed_and_products_err_less() -> None:
    rows = normal()
    rows[:, [3, 40]] *= 80
    chosen = choose_scaling(observed(rows), [weight()])
    assert chosen.smooths
    assert chosen.smoothing[[3, 40]].min() > 4 * np.median(chosen.smoothing)
    assert error(chosen, rows, weight()) < 0.2 * error(plain(rows), rows, weight())


def test_activations_of_one_size_are_not_smoothed() -> None:
    rows = np.random.default_rng(0).choice([-1.0, 1.0], (ROWS, WIDTH)).astype(np.float32)
    each = np.sign(weight()) * np.float32(0.25)
    chosen = choose_scaling(observed(rows), [each])
    assert not chosen.smooths
    np.testing.assert_array_equal(chosen.smoothing, 1)


def test_the_choice_is_never_worse_than_leaving_all_as_it_is() -> None:
    for seed in range(4):
        rows = normal(seed) ** 3
        chosen = choose_scaling(observed(rows), [weight(seed)])
        assert error(chosen, rows, weight(seed)) <= error(plain(rows), rows, weight(seed)) * (1 + 1e-6)


def test_a_rare_large_number_is_cut_off_where_that_errs_less() -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (ROWS, WIDTH)).astype(np.float32)
    seen = Observed(rows, np.full(WIDTH, 1.4, np.float32))
    chosen = choose_scaling(seen, [np.sign(weight()) / 8])
    assert 0.95 <= chosen.scale * 127 * chosen.smoothing.mean() <= 1.2


def test_a_common_large_number_is_not_cut_off() -> None:
    rows = np.random.default_rng(0).choice([-1.4, 1.4, 0.3], (ROWS, WIDTH)).astype(np.float32)
    chosen = choose_scaling(observed(rows), [np.sign(weight()) / 8])
    np.testing.assert_allclose(chosen.scale * 127 * chosen.smoothing, 1.4, rtol=1e-3)


def test_products_that_share_their_activations_are_weighed_together() -> None:
    rows = normal()
    rows[:, 3] *= 50
    many = [weight(seed) for seed in (1, 2, 3)]
    chosen = choose_scaling(observed(rows), many)
    ours = sum(error(chosen, rows, each) for each in many)
    assert ours < 0.5 * sum(error(plain(rows), rows, each) for each in many)


def test_channels_that_were_never_seen_to_move_do_no_harm() -> None:
    rows = np.zeros((ROWS, WIDTH), np.float32)
    chosen = choose_scaling(observed(rows), [weight()])
    assert chosen.scale > 0
    np.testing.assert_array_equal(chosen.rounded(rows), 0)
    rows[:, :8] = normal()[:, :8] * 100
    chosen = choose_scaling(observed(rows), [weight()])
    assert np.isfinite(chosen.smoothing).all()
    assert error(chosen, rows, weight()) < 1e-3 * np.square(rows @ weight()).sum()


def test_rounding_saturates_at_the_ends_of_int8() -> None:
    scaling = Scaling(np.ones(2, np.float32), 0.5)
    np.testing.assert_array_equal(scaling.rounded(np.array([[1000.0, -1000.0]], np.float32)), [[63.5, -64.0]])
    divided = Scaling(np.array([2.0, 1.0], np.float32), 0.5)
    np.testing.assert_array_equal(divided.rounded(np.array([[3.1, 3.1]], np.float32)), [[1.5, 3.0]])
