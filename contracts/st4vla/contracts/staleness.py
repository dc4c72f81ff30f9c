"""How old is too old: what an arm may do with actions whose frame or plan was made some time ago."""

from __future__ import annotations

import enum

import msgspec


class Pace(enum.IntEnum):
    """What may be done with an action. Greater is stricter; values are part of the wire format.

    RUN: execute it. SLOW: execute it at reduced speed. HOLD: keep the pose until something newer comes. STOP: come to
    rest, and move again only when the operator says so.
    """

    RUN = 1
    SLOW = 2
    HOLD = 3
    STOP = 4


class AgeBounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ages from which a stricter pace holds; 0 switches a bound off.

    Attributes:
        slow_ns: From this age on, slow down.
        hold_ns: From this age on, hold.
        stop_ns: From this age on, stop.

    Raises:
        ValueError: A negative bound, or a stricter one below a milder one.
    """

    slow_ns: int = 0
    hold_ns: int = 0
    stop_ns: int = 0

    def __post_init__(self) -> None:
        """Refuse bounds out of order."""
        given = (self.slow_ns, self.hold_ns, self.stop_ns)
        used = [bound for bound in given if bound]
        if min(given) < 0 or used != sorted(used):
            msg = f"age bounds slow {given[0]}, hold {given[1]}, stop {given[2]} ns: they must rise, and 0 means none"
            raise ValueError(msg)

    def pace(self, age_ns: int) -> Pace:
        """Return what an age allows."""
        for bound, pace in ((self.stop_ns, Pace.STOP), (self.hold_ns, Pace.HOLD), (self.slow_ns, Pace.SLOW)):
            if bound and age_ns >= bound:
                return pace
        return Pace.RUN


class Staleness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of both ages.

    Attributes:
        frame: For the frame behind an action.
        plan: For the frame behind its plan.
    """

    frame: AgeBounds = AgeBounds()
    plan: AgeBounds = AgeBounds()

    def pace(self, frame_age_ns: int, plan_age_ns: int) -> Pace:
        """Return the stricter of what both ages allow."""
        return max(self.frame.pace(frame_age_ns), self.plan.pace(plan_age_ns))


#: Nothing is ever too old.
NO_BOUNDS = Staleness()
