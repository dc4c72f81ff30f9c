"""What a graph's input or output looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import EngineInputError

DTYPES: tuple[str, ...] = ("float32", "float16", "int32", "int64", "uint8", "bool")


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, dtype and shape of one tensor.

    A dimension is an ``int``, or a ``str`` that names a dynamic dimension; the same name stands for the same size
    everywhere in one call.

    Attributes:
        name: The tensor's name in the graph.
        dtype: One of `DTYPES`.
        shape: Static sizes and names of dynamic ones.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        """Refuse dtypes that no engine of ours carries."""
        if self.dtype not in DTYPES:
            msg = f"tensor {self.name!r} has dtype {self.dtype!r}; allowed are {', '.join(DTYPES)}"
            raise ValueError(msg)

    def __str__(self) -> str:
        """Return for example ``views: uint8[2, 224, 224, 3]``."""
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


class SizeRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sizes that a dynamic dimension may have, and the one that engines are tuned for.

    Attributes:
        smallest: At least 1.
        typical: Between the two.
        largest: What buffers are made for.
    """

    smallest: int
    typical: int
    largest: int

    def __post_init__(self) -> None:
        """Refuse an order that no engine can be built for."""
        if not 1 <= self.smallest <= self.typical <= self.largest:
            msg = f"sizes must ascend from 1: smallest {self.smallest}, typical {self.typical}, largest {self.largest}"
            raise ValueError(msg)


@dataclass(frozen=True)
class GraphTensors:
    """What goes into a graph and what comes out.

    Attributes:
        name: The graph's name.
        inputs: Its inputs.
        outputs: Its outputs.
        sizes: What its dynamic dimensions may be.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sizes: Mapping[str, SizeRange]


def check_feeds(
    engine_name: str, specs: Sequence[TensorSpec], feeds: Mapping[str, npt.NDArray[np.generic]]
) -> dict[str, int]:
    """Check arrays against the specs of an engine's inputs.

    Args:
        engine_name: Named in the errors.
        specs: What is expected.
        feeds: What was given.

    Returns:
        The size that each dynamic dimension has in this call.

    Raises:
        EngineInputError: A name is missing or surplus, or a dtype or shape differs.
    """
    expected = [spec.name for spec in specs]
    missing = [name for name in expected if name not in feeds]
    surplus = [name for name in feeds if name not in expected]
    if missing or surplus:
        takes = ", ".join(expected)
        msg = f"engine {engine_name!r} takes {takes}; missing: {missing or 'none'}, unknown: {surplus or 'none'}"
        raise EngineInputError(msg)
    sizes: dict[str, int] = {}
    for spec in specs:
        array = feeds[spec.name]
        if array.dtype != np.dtype(spec.dtype):
            msg = f"engine {engine_name!r} expects {spec}; got dtype {array.dtype}"
            raise EngineInputError(msg)
        if array.ndim != len(spec.shape):
            msg = f"engine {engine_name!r} expects {spec}; got {array.ndim} dimensions {list(array.shape)}"
            raise EngineInputError(msg)
        for expected_size, size in zip(spec.shape, array.shape, strict=True):
            wanted = sizes.setdefault(expected_size, size) if isinstance(expected_size, str) else expected_size
            if wanted != size:
                size_here = f"{expected_size} = {wanted} in this call"
                msg = f"engine {engine_name!r} expects {spec}; got shape {list(array.shape)} ({size_here})"
                raise EngineInputError(msg)
    return sizes
