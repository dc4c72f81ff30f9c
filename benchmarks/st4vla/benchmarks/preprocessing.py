"""What a camera's picture costs before a policy sees it: decoding JPEG, and resizing, in turns in one process."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle

import msgspec
import numpy as np
import simplejpeg

from st4vla.benchmarks.resizers import REFERENCE, Pixels, Resizer, resizers
from st4vla.benchmarks.turns import in_turns
from st4vla.runtime.resizing import compiled_resize, resize

JPEG_QUALITY = 90
HEADER = ("step", "median ms", "times faster than Pillow", "mean levels off", "max levels off")


class Step(msgspec.Struct, frozen=True):
    """One way to do one step.

    Attributes:
        name: What is done.
        times_ms: One a turn.
        faster: How many times as fast as Pillow's bicubic; None for a step that is no resize.
        mean_levels: Mean difference from Pillow's bicubic over all pictures, in 1/255; None where nothing is changed.
        max_levels: The largest one.
    """

    name: str
    times_ms: tuple[float, ...]
    faster: float | None = None
    mean_levels: float | None = None
    max_levels: int | None = None

    @property
    def median_ms(self) -> float:
        """The median turn."""
        return statistics.median(self.times_ms)


class Preprocessing(msgspec.Struct, frozen=True):
    """What was measured.

    Attributes:
        size: Rows and columns of the pictures.
        side: Rows and columns of the policy's views.
        compiled: Whether ours was the firmware bridge's library; else it was Pillow.
        steps: All of them.
    """

    size: tuple[int, int]
    side: int
    compiled: bool
    steps: tuple[Step, ...]

    def step(self, name: str) -> Step:
        """Return the step of a name."""
        return next(step for step in self.steps if step.name == name)

    def rows(self) -> list[tuple[object, ...]]:
        """Return a table's rows, under `HEADER`."""
        return [
            (step.name, f"{step.median_ms:.3f}", *map(_cell, (step.faster, step.mean_levels, step.max_levels)))
            for step in self.steps
        ]


def measure(pictures: Sequence[Pixels], *, side: int = 224, turns: int = 100) -> Preprocessing:
    """Time decoding and resizing of a camera's pictures, each turn with the next one.

    Args:
        pictures: RGB uint8 [H, W, 3] of one size, at least one.
        side: Rows and columns of the policy's views.
        turns: How often each step is done.
    """
    height, width = pictures[0].shape[:2]
    methods = resizers()
    views = [methods[REFERENCE](each, side, side) for each in pictures]
    large, small = [_jpeg(each) for each in pictures], [_jpeg(each) for each in views]
    small_name, large_name = f"decode {side} x {side}", f"decode {height} x {width}"
    # libjpeg can leave out frequencies that a smaller picture has no room for: fast, and not what training did.
    reduced_name = f"{large_name} at a reduced scale"
    reduced = partial(simplejpeg.decode_jpeg, colorspace="RGB", min_height=side, min_width=side, min_factor=1)
    calls: dict[str, Callable[[], object]] = {
        small_name: _with_next(small, partial(simplejpeg.decode_jpeg, colorspace="RGB")),
        large_name: _with_next(large, partial(simplejpeg.decode_jpeg, colorspace="RGB")),
        reduced_name: _with_next(large, reduced),
        **{name: _with_next(pictures, _to(side, method)) for name, method in methods.items()},
    }
    in_turns(calls, 2)
    costs = in_turns(calls, turns)
    times = {name: tuple(cost.seconds * 1e3 for cost in each) for name, each in costs.items()}
    pillow_ms = statistics.median(times[REFERENCE])
    steps = [Step(name, times[name]) for name in (small_name, large_name)]
    decoded = [simplejpeg.decode_jpeg(each, "RGB") for each in large]
    off = _levels_off(
        [methods[REFERENCE](each, side, side) for each in decoded],
        [resize(reduced(each), side, side) for each in large],
    )
    steps.append(Step(reduced_name, times[reduced_name], None, *off))
    for name, method in methods.items():
        off = _levels_off(views, [method(each, side, side) for each in pictures])
        steps.append(Step(name, times[name], pillow_ms / statistics.median(times[name]), *off))
    return Preprocessing((height, width), side, compiled_resize() is not None, tuple(steps))


def _jpeg(pixels: Pixels) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=JPEG_QUALITY, colorspace="RGB")  # type: ignore[no-any-return]


def _to(side: int, method: Resizer) -> Callable[[Pixels], Pixels]:
    return lambda pixels: method(pixels, side, side)


def _with_next(given: Sequence[object], call: Callable[..., object]) -> Callable[[], object]:
    endless = cycle(given)
    return lambda: call(next(endless))


def _levels_off(expected: Sequence[Pixels], found: Sequence[Pixels]) -> tuple[float, int]:
    off = np.abs(np.stack(expected).astype(np.int16) - np.stack(found))
    return float(off.mean()), int(off.max())


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
