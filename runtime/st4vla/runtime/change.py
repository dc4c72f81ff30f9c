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

from collections import deque

import msgspec
import numpy as np

from st4vla.runtime.cell_motion import CellMotion, Cells, Grid, drifts_between, norms_of, of_neighbours

#: Frames in which nothing is told, because too little is known.
LEARNING = 40
#: Up to so many frames with motion since the arm was near, a cell must rest for `PATIENCE` frames: an arm that comes
#: back does not count.
LONELY, PATIENCE = 12, 8
#: Frames after which a cell that never rests is given up, and resting ones after which one is as it was.
MOST_FRAMES, AS_BEFORE = 14, 2
#: A view that speaks so often within so many frames is not listened to.
SPOKEN, WITHIN = 5, 200


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
        self._seen: CellMotion | None = None
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
            self._seen = CellMotion.first(cells, view_count)
            self._spoken = [deque(maxlen=SPOKEN) for _ in range(view_count)]
            return False
        self._looks += 1
        norms = norms_of(cells)
        drifts = drifts_between(cells, norms, seen.cells, seen.norms).reshape(seen.usual.shape)
        motion = seen.learn(drifts, config.factor, config.least)
        moving = drifts > motion
        if moving.any():
            # What moves is seen in neighbouring cells. In a view where no two of them do, it is noise.
            crowds = moving & (of_neighbours(moving.astype(np.int32), np.add) >= config.cells)
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

    def _judge(self, seen: CellMotion, motion: Grid) -> bool:
        """Give up cells that are as before or never rest, and say whether enough of the others count."""
        config = self._config
        where = np.nonzero(seen.watched)
        flat = np.flatnonzero(seen.watched)
        turned = drifts_between(seen.cells[flat], seen.norms[flat], seen.before[flat], seen.norms_before[flat])
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
        crowds = of_neighbours(changed, np.add).max(axis=(1, 2))
        # Every view that speaks is noted, also after one that was enough.
        heard = [self._speak(seen, int(view)) for view in np.flatnonzero(crowds >= config.cells)]
        return any(heard)

    def _speak(self, seen: CellMotion, view: int) -> bool:
        """Note that a view shows a change; return whether it is listened to."""
        seen.watched[view] = False
        spoken = self._spoken[view]
        heard = len(spoken) < SPOKEN or self._looks - spoken[0] >= WITHIN
        spoken.append(self._looks)
        return heard and self._looks > LEARNING
