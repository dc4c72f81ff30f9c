import numpy as np
import pytest

from st4vla.contracts.errors import EngineInputError
from st4vla.contracts.tensor_spec import TensorSpec, check_feeds

SPECS = (
    TensorSpec("views", "uint8", (2, 4, 4, 3)),
    TensorSpec("ids", "int64", (1, "L")),
    TensorSpec("mask", "bool", ("L",)),
)


def feeds(**changes: np.ndarray) -> dict[str, np.ndarray]:
    good = {"views": np.zeros((2, 4, 4, 3), np.uint8), "ids": np.zeros((1, 5), np.int64), "mask": np.ones(5, bool)}
    return good | changes


def test_a_dynamic_dimension_has_one_size_in_a_call() -> None:
    assert check_feeds("e", SPECS, feeds()) == {"L": 5}
    with pytest.raises(EngineInputError, match=r"expects mask: bool\[L\]; got shape \[4\] \(L = 5 in this call\)"):
        check_feeds("e", SPECS, feeds(mask=np.ones(4, bool)))


def test_wrong_feeds_are_answered_with_what_was_expected() -> None:
    with pytest.raises(EngineInputError, match=r"expects views: uint8\[2, 4, 4, 3\]; got dtype float32"):
        check_feeds("e", SPECS, feeds(views=np.zeros((2, 4, 4, 3), np.float32)))
    with pytest.raises(EngineInputError, match="got 3 dimensions"):
        check_feeds("e", SPECS, feeds(views=np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(EngineInputError, match=r"missing: \['mask'\]"):
        check_feeds("e", SPECS, {key: value for key, value in feeds().items() if key != "mask"})


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed are float32"):
        TensorSpec("x", "complex64", (1,))
