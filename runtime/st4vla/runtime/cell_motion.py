"""What is remembered of a scene's cells: which of them move, and which started to with nothing moving near them.

An arm moves on from cell to cell, so whatever it comes to was beside something that moved just before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.float32]
Grid = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int32]

#: How fast the usual drift of a cell is learnt, to and fro, which leads to the middle one.
LEARNING_RATE = 0.1
#: Cells of a view that drift less than this share of them are not what moves, and this much of that is motion.
CALM_SHARE, MOTION = 0.9, 0.5
#: How fast that grows with what is seen, and is forgotten again: by half in 12 s at 20 frames a second.
GROWS, FADES = 0.1, 0.003
#: Frames with motion in which a cell's and its neighbours' motion explains that it moves again.
EXPLAINED = 6
LONG_AGO = 1_000_000
TINY = 1e-12


@dataclass
class CellMotion:
    """What is remembered; grids are [V, G, G].

    Attributes:
        cells, norms: Of the newest frame, [C, D] and [C].
        usual: The middle one of each cell's drifts from frame to frame.
        busy: Drift of each view's busiest cells, [V, 1, 1].
        moved: Frames with motion in its view since each cell moved.
        rested: Frames since each cell was last not at rest.
        watched: Cells that started to move with nothing moving near them.
        since_ns: When that frame was captured.
        before, norms_before: What these cells were then, [C, D] and [C].
        lonely: Frames with motion until then since any neighbour had moved.
        frames: Frames that they are watched for.
    """

    cells: Cells
    norms: Grid
    usual: Grid
    busy: Grid
    moved: Counts
    rested: Counts
    watched: npt.NDArray[np.bool_]
    since_ns: npt.NDArray[np.int64]
    before: Cells
    norms_before: Grid
    lonely: Counts
    frames: Counts

    @classmethod
    def first(cls, cells: Cells, view_count: int) -> CellMotion:
        """Begin with a frame's cells."""
        side = math.isqrt(len(cells) // view_count)
        if not side or view_count * side * side != len(cells):
            msg = f"{len(cells)} cells are not {view_count} square views of cells"
            raise ValueError(msg)
        grid, norms = (view_count, side, side), norms_of(cells)
        return cls(
            cells=cells,
            norms=norms,
            usual=np.full(grid, 1e-3, np.float32),
            busy=np.zeros((view_count, 1, 1), np.float32),
            moved=np.full(grid, LONG_AGO, np.int32),
            rested=np.zeros(grid, np.int32),
            watched=np.zeros(grid, np.bool_),
            since_ns=np.zeros(grid, np.int64),
            before=np.zeros_like(cells),
            norms_before=np.ones_like(norms),
            lonely=np.zeros(grid, np.int32),
            frames=np.zeros(grid, np.int32),
        )

    def learn(self, drifts: Grid, factor: float, least: float) -> Grid:
        """Learn what is usual from a frame's drifts; return the drift above which each cell moves."""
        flat = drifts.reshape(len(drifts), -1)
        rank = int(CALM_SHARE * (flat.shape[1] - 1))
        busy = np.partition(flat, rank, axis=1)[:, rank].reshape(self.busy.shape)
        self.busy = np.where(busy > self.busy, self.busy + GROWS * (busy - self.busy), self.busy * (1 - FADES))
        motion: Grid = np.maximum(self.usual * factor, np.maximum(self.busy * MOTION, least))
        self.usual *= np.where(drifts > self.usual, np.float32(1 + LEARNING_RATE), np.float32(1 - LEARNING_RATE))
        np.clip(self.usual, 1e-6, 2.0, out=self.usual)
        return motion

    def note(self, moving: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Note which cells move; return those that start to, where nothing near them has moved lately."""
        since = of_neighbours(self.moved, np.minimum, LONG_AGO)
        started: npt.NDArray[np.bool_] = moving & (since >= EXPLAINED) & ~self.watched
        # An arm that rests is where it was when it moves on: only frames with motion count.
        self.moved += moving.any(axis=(1, 2), keepdims=True)
        np.minimum(self.moved, LONG_AGO, out=self.moved)
        self.moved[moving] = 0
        self.lonely[started] = since[started]
        return started

    def watch(self, started: npt.NDArray[np.bool_], capture_ns: int) -> None:
        """Watch cells, remembering what they were in the frame before."""
        flat = np.flatnonzero(started)
        self.before[flat], self.norms_before[flat] = self.cells[flat], self.norms[flat]
        self.watched |= started
        self.since_ns[started] = capture_ns
        self.frames[started] = 0


def norms_of(cells: Cells) -> Grid:
    """Return the lengths of cells [C, D]: [C], none of them 0."""
    norms: Grid = np.sqrt(np.einsum("cd,cd->c", cells, cells)) + np.float32(TINY)
    return norms


def drifts_between(cells: Cells, norms: Grid, others: Cells, other_norms: Grid) -> Grid:
    """Return how far each of the cells [C, D] has turned from another: 1 - cosine, [C]."""
    drifts: Grid = 1.0 - np.einsum("cd,cd->c", cells, others) / (norms * other_norms)
    return drifts


def of_neighbours(grid: Counts, combine: np.ufunc, outside: int = 0) -> Counts:
    """Return for each cell of [V, G, G] what its 3 x 3 cells come to."""
    views, rows, columns = grid.shape
    padded = np.full((views, rows + 2, columns + 2), outside, grid.dtype)
    padded[:, 1:-1, 1:-1] = grid
    across = combine(combine(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    combined: Counts = combine(combine(across[..., :-2], across[..., 1:-1]), across[..., 2:])
    return combined
