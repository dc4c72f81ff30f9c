import ml_dtypes
import numpy as np
import pytest

from st4vla.export.quantization.weights import (
    INT4_BLOCK,
    QuantizedWeight,
    fits_int4,
    quantize_int4,
    quantize_int8,
)

TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
EVERY_TYPE = pytest.mark.parametrize("kind", TYPES)


def weights(rows: int = 128, columns: int = 48, seed: int = 0) -> np.ndarray:
    """Return weights whose outputs differ a hundredfold in size."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(0.02, 2, columns)
    return (rng.standard_normal((rows, columns)) * sizes).astype(np.float32)


def largest_error(weight: np.ndarray, quantized: QuantizedWeight) -> np.ndarray:
    """Return the largest error of each output in steps."""
    scales = quantized.scales.repeat(quantized.block, 0) if quantized.block else quantized.scales
    return np.abs((quantized.floats() - weight) / scales).max(axis=0)


@EVERY_TYPE
def test_int8_errs_by_half_a_step_and_by_what_its_scale_lost(kind: str) -> None:
    weight = weights()
    quantized = quantize_int8(weight, kind)
    assert quantized.values.dtype == np.int8
    assert quantized.scales.shape == (48,)
    assert quantized.block == 0
    # A scale that was rounded down cuts the largest numbers off.
    lost = 127 * float(ml_dtypes.finfo(TYPES[kind]).eps)  # type: ignore[no-untyped-call]
    assert largest_error(weight, quantized).max() <= 0.5 + lost + 1e-3


def test_int8_uses_its_whole_range_for_every_output() -> None:
    values = quantize_int8(weights()).values.astype(np.int32)
    assert (np.abs(values).max(axis=0) == 127).all()


@EVERY_TYPE
@pytest.mark.parametrize("quantize", [quantize_int8, quantize_int4])
def test_scales_are_numbers_that_their_type_holds(kind: str, quantize: object) -> None:
    scales = quantize(weights(), kind).scales  # type: ignore[operator]
    np.testing.assert_array_equal(scales.astype(TYPES[kind]).astype(np.float32), scales)


@pytest.mark.parametrize("whole", ["int8", "int4"])
def test_what_is_whole_already_stays_as_it_is(whole: str) -> None:
    largest = 127 if whole == "int8" else 7
    rng = np.random.default_rng(1)
    numbers = rng.integers(-largest, largest + 1, (2 * INT4_BLOCK, 16))
    numbers[::INT4_BLOCK] = largest
    weight = (numbers * 0.125).astype(np.float32)
    quantized = (quantize_int8 if whole == "int8" else quantize_int4)(weight, "float16")
    np.testing.assert_array_equal(quantized.floats(), weight)
    np.testing.assert_array_equal(quantized.values.astype(np.int32), numbers)


def test_int4_has_a_scale_for_every_block_of_rows() -> None:
    weight = weights()
    weight[:INT4_BLOCK] *= 1000
    quantized = quantize_int4(weight)
    assert quantized.values.dtype == ml_dtypes.int4
    assert quantized.values.shape == weight.shape
    assert quantized.scales.shape == (2, 48)
    assert quantized.block == INT4_BLOCK
    # Small numbers are not lost beside those of another block.
    below = np.square(quantized.floats() - weight)[INT4_BLOCK:].sum() / np.square(weight[INT4_BLOCK:]).sum()
    assert below < 0.02


def test_int4_takes_the_scale_that_errs_least() -> None:
    weight = weights(seed=3)
    blocks = weight.reshape(2, INT4_BLOCK, -1)
    scales = np.abs(blocks).max(axis=1) / 7
    plain = np.clip(np.rint(blocks / scales[:, None]), -7, 7) * scales[:, None]
    ours = quantize_int4(weight).floats().reshape(blocks.shape)
    plain_error, our_error = (np.square(each - blocks).sum(axis=1) for each in (plain, ours))
    assert (our_error <= plain_error * (1 + 1e-5)).all()
    assert our_error.sum() < 0.97 * plain_error.sum()


@EVERY_TYPE
@pytest.mark.parametrize("quantize", [quantize_int8, quantize_int4])
def test_outputs_without_any_weight_stay_zero(kind: str, quantize: object) -> None:
    weight = weights()
    weight[:, 5] = 0
    quantized = quantize(weight, kind)  # type: ignore[operator]
    assert (quantized.floats()[:, 5] == 0).all()
    assert (quantized.scales > 0).all()
    assert (quantize(np.zeros_like(weight), kind).floats() == 0).all()  # type: ignore[operator]


@EVERY_TYPE
@pytest.mark.parametrize("quantize", [quantize_int8, quantize_int4])
@pytest.mark.parametrize("size", [1e-12, 1e-7, 6e4])
def test_tiny_and_huge_weights_stay_finite_and_keep_their_sign(kind: str, quantize: object, size: float) -> None:
    weight = weights() * np.float32(size / 10)
    quantized = quantize(weight, kind)  # type: ignore[operator]
    assert np.isfinite(quantized.floats()).all()
    assert (quantized.scales > 0).all()
    assert (quantized.floats() * weight >= 0).all()
    assert np.abs(quantized.floats()).max() <= np.abs(weight).max() * 1.01


def test_rows_that_do_not_divide_into_blocks_are_refused_in_int4() -> None:
    assert [fits_int4(rows) for rows in (64, 128, 7, 588)] == [True, True, False, False]
    with pytest.raises(ValueError, match="588 rows does not divide into blocks of 64"):
        quantize_int4(weights(588))
