"""Has something moved that was not the robot?

The bridge's graph gives, beside the condition, its visual tokens over square cells of each view. An arm moves on from
cell to cell, and whatever it comes to was beside something that moved just before. A thing that somebody moved changes
cells around which all was still, and then stays. So a cell is watched when it starts to move with nothing moving near
it, and it counts when it has come to rest and is not what it was before. Cells that count next to each other are a
change, unless the plan was made on a frame that shows it.

How far cells turn ordinarily is learnt: for each cell by itself, which is noise, and for a whole view, whose busiest
cells are where things move. A view that speaks too often, as one from a camera on the wrist does, is not listened to.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.float32]
Grid = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int32]

#: Frames in which nothing is told, because too little is known.
LEARNING = 40
#: How fast the usual drift of a cell is learnt, to and fro, which leads to the middle one.
LEARNING_RATE = 0.1
#: Cells of a view that drift less than this share of them are not what moves, and this much of that is motion.
CALM_SHARE, MOTION = 0.9, 0.5
#: How fast that grows with what is seen, and is forgotten again: by half in 12 s at 20 frames a second.
GROWS, FADES = 0.1, 0.003
#: Frames with motion since a cell or a neighbour moved: nearer in time, motion is explained; up to `LONELY`, it must
#: rest for `PATIENCE` frames, so that an arm which comes back does not count.
EXPLAINED, LONELY, PATIENCE = 6, 12, 8
#: Frames after which a cell that never rests is given up, and resting ones after which one is as it was.
MOST_FRAMES, AS_BEFORE = 14, 2
#: A view that speaks so often within so many frames is not listened to.
SPOKEN, WITHIN = 5, 200
LONG_AGO = 1_000_000
TINY = 1e-12


class ChangeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a scene counts as changed.

    Attributes:
        enabled: Whether to look at all.
        least: Drift from frame to frame, 1 - cosine, below which no cell moves, however still the scene.
        factor: How many times its usual drift a cell must drift to move.
        release: Share of the drift that is motion, below which a cell is at rest again.
        cells: Neighbouring cells that must have changed.
        frames: Frames in which they must look so, the one of the change among them.
    """

    enabled: bool = True
    least: float = 1e-3
    factor: float = 6.0
    release: float = 0.5
    cells: int = 2
    frames: int = 3

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.least <= 0 or self.factor <= 1 or not 0 < self.release <= 1:
            msg = f"least {self.least} must be positive, factor {self.factor} above 1, release {self.release} in (0, 1]"
            raise ValueError(msg)
        if not 1 <= self.cells <= 9 or not 2 <= self.frames <= PATIENCE:
            msg = f"cells {self.cells} must be 1 to 9, frames {self.frames} 2 to {PATIENCE}"
            raise ValueError(msg)


class ChangeDetector:
    """Watch one client's scene.

    Args:
        config: When it counts as changed.
    """

    def __init__(self, config: ChangeConfig) -> None:
        self._config = config
        self._seen: _Seen | None = None
        self._looks = 0
        self._planned_ns: int | None = None
        self._spoken: list[deque[int]] = []

    def look(self, capture_ns: int, cells: Cells, view_count: int) -> bool:
        """Take in a frame's cells [C, D]; return True when the scene has just counted as changed.

        Args:
            capture_ns: When the frame was captured.
            cells: Of all views, one after another, row by row.
            view_count: Into how many square views they fall.

        Raises:
            ValueError: They do not.
        """
        config, seen = self._config, self._seen
        if not config.enabled:
            return False
        if seen is None:
            self._seen = _Seen.first(cells, view_count)
            self._spoken = [deque(maxlen=SPOKEN) for _ in range(view_count)]
            return False
        self._looks += 1
        norms = _norms(cells)
        drifts = _drifts(cells, norms, seen.cells, seen.norms).reshape(seen.usual.shape)
        motion = seen.learn(drifts, config.factor, config.least)
        moving = drifts > motion
        if moving.any():
            # What moves is seen in neighbouring cells. In a view where no two of them do, it is noise.
            crowds = moving & (_of_neighbours(moving.astype(np.int32), np.add) >= config.cells)
            moving &= crowds.any(axis=(1, 2), keepdims=True)
        if moving.any():
            started = seen.note(moving)
            if started.any() and (self._planned_ns is None or capture_ns > self._planned_ns):
                seen.watch(started, capture_ns)
        seen.rested += 1
        seen.rested[drifts >= motion * config.release] = 0
        seen.cells, seen.norms = cells, norms
        return bool(seen.watched.any()) and self._judge(seen, motion)

    def plan_begun(self, capture_ns: int) -> None:
        """Count no change any more that a frame shows which System 2 has begun to plan on."""
        self._planned_ns = capture_ns
        if self._seen is not None:
            self._seen.watched &= self._seen.since_ns > capture_ns

    def _judge(self, seen: _Seen, motion: Grid) -> bool:
        """Give up cells that are as before or never rest, and say whether enough of the others count."""
        config = self._config
        where = np.nonzero(seen.watched)
        flat = np.flatnonzero(seen.watched)
        turned = _drifts(seen.cells[flat], seen.norms[flat], seen.before[flat], seen.norms_before[flat])
        differs, rested = turned > motion[where] * config.release, seen.rested[where]
        seen.frames[where] += 1
        gone = (~differs & (rested >= AS_BEFORE)) | (seen.frames[where] > MOST_FRAMES)
        needed = np.where(seen.lonely[where] >= LONELY, config.frames, PATIENCE)
        counts = differs & ~gone & (rested >= needed - 1)
        seen.watched[where] = ~gone
        if counts.sum() < config.cells:
            return False
        changed = np.zeros(seen.watched.shape, np.int32)
        changed[where] = counts
        crowds = _of_neighbours(changed, np.add).max(axis=(1, 2))
        # Every view that speaks is noted, also after one that was enough.
        heard = [self._speak(seen, int(view)) for view in np.flatnonzero(crowds >= config.cells)]
        return any(heard)

    def _speak(self, seen: _Seen, view: int) -> bool:
        """Note that a view shows a change; return whether it is listened to."""
        seen.watched[view] = False
        spoken = self._spoken[view]
        heard = len(spoken) < SPOKEN or self._looks - spoken[0] >= WITHIN
        spoken.append(self._looks)
        return heard and self._looks > LEARNING


@dataclass
class _Seen:
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
    def first(cls, cells: Cells, view_count: int) -> _Seen:
        """Begin with a frame's cells."""
        side = math.isqrt(len(cells) // view_count)
        if not side or view_count * side * side != len(cells):
            msg = f"{len(cells)} cells are not {view_count} square views of cells"
            raise ValueError(msg)
        grid, norms = (view_count, side, side), _norms(cells)
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
        since = _of_neighbours(self.moved, np.minimum, LONG_AGO)
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


def _norms(cells: Cells) -> Grid:
    norms: Grid = np.sqrt(np.einsum("cd,cd->c", cells, cells)) + np.float32(TINY)
    return norms


def _drifts(cells: Cells, norms: Grid, others: Cells, other_norms: Grid) -> Grid:
    """Return how far each of the cells [C, D] has turned from another: 1 - cosine, [C]."""
    drifts: Grid = 1.0 - np.einsum("cd,cd->c", cells, others) / (norms * other_norms)
    return drifts


def _of_neighbours(grid: Counts, combine: np.ufunc, outside: int = 0) -> Counts:
    """Return for each cell of [V, G, G] what its 3 x 3 cells come to."""
    views, rows, columns = grid.shape
    padded = np.full((views, rows + 2, columns + 2), outside, grid.dtype)
    padded[:, 1:-1, 1:-1] = grid
    across = combine(combine(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    combined: Counts = combine(combine(across[..., :-2], across[..., 1:-1]), across[..., 2:])
    return combined
