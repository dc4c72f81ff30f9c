"""A Franka Hand in a process of its own: pylibfranka holds Python's lock for as long as the fingers move.

The control loop's library speaks to that process (`st4vla_gripper_process_move`).

`python -m st4vla.runtime.bridge.franka_hand ADDRESS WIDTH SPEED FORCE` takes ``open`` and ``close``, a
line each, and answers with ``done`` or with what went wrong.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import Any

from st4vla.contracts.errors import TransportError

READY, DONE = "ready", "done"
#: A grasp holds whatever lies between the fingers: any width between closed and open will do.
ANY_WIDTH_M = 0.1
STOP_TIMEOUT_S = 5.0


class FrankaHand:
    """The process, from outside.

    Args:
        address: The arm's.
        width_m: Between open fingers.
        speed_m_s: Of the fingers.
        force_N: Of a grasp.

    Raises:
        TransportError: No hand answers.
    """

    def __init__(self, address: str, width_m: float, speed_m_s: float, force_N: float) -> None:  # noqa: N803
        numbers = (str(number) for number in (width_m, speed_m_s, force_N))
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", __name__, address, *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # An interrupt at the keyboard is for the arm's program, which ends this one.
            start_new_session=True,
        )
        answer = self._answer()
        if answer != READY:
            self.close()
            msg = f"no Franka Hand at {address}: {answer}; without one, say so"
            raise TransportError(msg)

    @property
    def files(self) -> tuple[int, int]:
        """The file that commands are written to, and the one that answers are read from."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        assert self._process.stdout is not None  # noqa: S101
        return self._process.stdin.fileno(), self._process.stdout.fileno()

    def close(self) -> None:
        """End the process; the fingers stay where they are."""
        with suppress(BrokenPipeError):
            self._process.communicate(timeout=STOP_TIMEOUT_S)
        self._process.kill()

    def _answer(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        return self._process.stdout.readline().rstrip("\n") or "its process has ended"


def _serve(address: str, width_m: float, speed_m_s: float, force_N: float) -> None:  # noqa: N803
    def say(text: str) -> None:
        sys.stdout.write(" ".join(text.split()) + "\n")
        sys.stdout.flush()

    try:
        import pylibfranka  # noqa: PLC0415 - an extra

        gripper: Any = pylibfranka.Gripper(address)
    except Exception as error:
        say(str(error))
        return
    say(READY)
    for line in sys.stdin:
        try:
            if line.strip() == "open":
                done = gripper.move(width_m, speed_m_s)
            else:
                done = gripper.grasp(0.0, speed_m_s, force_N, ANY_WIDTH_M, ANY_WIDTH_M)
            say(DONE if done else "the hand reports no success")
        except Exception as error:
            say(str(error) or type(error).__name__)


if __name__ == "__main__":
    _serve(sys.argv[1], *(float(number) for number in sys.argv[2:]))
