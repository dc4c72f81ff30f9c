"""What both systems did lately: written by their threads in a few stores, read by whoever asks."""

from __future__ import annotations

from collections import deque

from st4vla.contracts.errors import ObservationError, PromptError, UnsafeOutputError
from st4vla.runtime.distribution import Distribution
from st4vla.runtime.printable import printable

#: Calls whose outcome is remembered, of each system, and answers.
OUTCOMES = 50
#: Characters of an error that are kept.
ERROR_CHARACTERS = 120


class SystemVitals:
    """One system's calls, written by its thread.

    Attributes:
        seconds: How long the calls took that came to an end.
        began_ns: When the call began that is running, or None.
        failures: Calls so far in which the policy failed.
        outcomes: When each of the last calls ended, and whether it failed.
        last_error: What the last failure said.
    """

    def __init__(self) -> None:
        self.seconds = Distribution()
        self.began_ns: int | None = None
        self.failures = 0
        self.outcomes: deque[tuple[int, bool]] = deque(maxlen=OUTCOMES)
        self.last_error = ""

    def begin(self, now_ns: int) -> None:
        """Note that a call begins."""
        self.began_ns = now_ns

    def end(self, now_ns: int) -> None:
        """Note that the call has ended well."""
        if self.began_ns is not None:
            self.seconds.add(now_ns, now_ns - self.began_ns)
        self.began_ns = None
        self.outcomes.append((now_ns, False))

    def fail(self, now_ns: int, error: Exception) -> None:
        """Note that the call has ended in an error; one that its client caused says nothing of the system."""
        self.began_ns = None
        if isinstance(error, ObservationError | PromptError):
            return
        self.failures += 1
        self.last_error = printable(f"{type(error).__name__}: {error}", ERROR_CHARACTERS)
        self.outcomes.append((now_ns, True))


class Vitals:
    """Both systems and what was handed out.

    Attributes:
        system1: The fast system.
        system2: The slow one.
        frame_age: Ages of frames when their chunks were handed out.
        plan_age: Ages of plans when chunks were handed out by them.
        unsafe_ns: When chunks with NaN or infinity were withheld.
        answers: When each of the last observations was answered, and whether it had become too old to act on.
    """

    def __init__(self) -> None:
        self.system1, self.system2 = SystemVitals(), SystemVitals()
        self.frame_age, self.plan_age = Distribution(), Distribution()
        self.unsafe_ns: deque[int] = deque(maxlen=OUTCOMES)
        self.answers: deque[tuple[int, bool]] = deque(maxlen=OUTCOMES)

    def handed_out(self, now_ns: int, frame_age_ns: int, plan_age_ns: int) -> None:
        """Note that a chunk went out."""
        self.frame_age.add(now_ns, frame_age_ns)
        self.plan_age.add(now_ns, plan_age_ns)
        self.answers.append((now_ns, False))

    def gone_stale(self, now_ns: int) -> None:
        """Note that an observation got no chunk because its frame or its plan was too old."""
        self.answers.append((now_ns, True))

    def failed_to_act(self, now_ns: int, error: Exception) -> None:
        """Note that System 1 gave nothing that may go out."""
        if isinstance(error, UnsafeOutputError):
            self.unsafe_ns.append(now_ns)
        self.system1.fail(now_ns, error)
