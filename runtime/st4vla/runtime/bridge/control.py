"""The firmware bridge's control loop (`firmware_bridge/include/st4vla/control.h`) with a robot that Python reaches."""

from __future__ import annotations

import ctypes
import weakref
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_char,
    c_double,
    c_int,
    c_int32,
    c_int64,
    c_uint8,
    c_uint32,
    c_uint64,
)
from enum import IntEnum
from functools import cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import TransportError
from st4vla.contracts.messages import MAX_JOINTS
from st4vla.runtime.bridge.player import NativePlayer, Setpoint
from st4vla.runtime.bridge.trace import empty_trace
from st4vla.runtime.native_library import load

#: `ST4VLA_CONTROL_ABI_VERSION`, and `ST4VLA_PLAYER_ABI_VERSION`, which the library is named after.
ABI_VERSION = 1
#: `ST4VLA_CONTROL_TEXT_BYTES`.
TEXT_BYTES = 256


class GripperEvent(IntEnum):
    """What a gripper is told."""

    OPEN = 1
    CLOSE = 2


class Ended(IntEnum):
    """How a run ended: `st4vla_control_status`."""

    AT_REST = 0
    BAD_ARGUMENT = 1
    ROBOT = 2
    PLAYER = 3
    SYSTEM = 4


class RobotState(Structure):
    """`st4vla_robot_state`: what an arm measures, and what it was last told."""

    _fields_ = (
        ("capture_ns", c_int64),
        ("ticks", c_uint32),
        ("joint_count", c_uint32),
        ("joint_positions_rad", c_double * MAX_JOINTS),
        ("joint_velocities_rad_s", c_double * MAX_JOINTS),
        ("base_T_ee", c_double * 16),
        ("commanded_base_T_ee", c_double * 16),
        ("commanded_positions_rad", c_double * MAX_JOINTS),
        ("gripper_width_m", c_double),
    )


class ControlReport(Structure):
    """`st4vla_control_report`."""

    _fields_ = (
        ("cycles", c_uint64),
        ("missed", c_uint64),
        ("slow_cycles", c_uint64),
        ("longest_cycle_ns", c_int64),
        ("gripper_events", c_uint64),
        ("gripper_failures", c_uint64),
        ("runs", c_uint64),
        ("running", c_uint8),
        ("reserved", c_uint8 * 7),
    )


@runtime_checkable
class RobotArm(Protocol):
    """A robot that Python reaches; whatever it raises ends the run, with its text."""

    #: Setpoints of joints are commanded, not poses.
    joints: bool

    def read(self, state: RobotState) -> None:
        """Wait for the next millisecond, and fill in what the arm measures."""
        ...

    def write(self, setpoint: Setpoint, *, last: bool) -> None:
        """Command a setpoint; the last one ends the motion."""
        ...


@runtime_checkable
class GripsInPython(Protocol):
    """One whose gripper Python moves, which takes its lock from a loop that needs it too: see `GripsByProcess`."""

    def grip(self, event: GripperEvent) -> None:
        """Open or close; may take seconds, and is called in a thread of its own."""
        ...


class GripperProcess(Structure):
    """`st4vla_gripper_process`: the files of a process that moves a gripper."""

    _fields_ = (("commands", c_int32), ("answers", c_int32))


@runtime_checkable
class GripsByProcess(Protocol):
    """One whose gripper is moved by a process of its own, to which the library speaks: no Python is in between."""

    #: None: there is no gripper.
    gripper_process: GripperProcess | None


class NativeArm(Protocol):
    """A robot that a library reaches: nothing of a cycle is Python's."""

    @property
    def functions(self) -> RobotFunctions:
        """What the control loop calls."""
        ...


_READ = CFUNCTYPE(c_int, ctypes.c_void_p, POINTER(RobotState), POINTER(c_char))
_WRITE = CFUNCTYPE(c_int, ctypes.c_void_p, POINTER(Setpoint), c_int, POINTER(c_char))
_GRIP = CFUNCTYPE(c_int, ctypes.c_void_p, c_int, POINTER(c_char))


class RobotFunctions(Structure):
    """`st4vla_robot`."""

    _fields_ = (
        ("user", ctypes.c_void_p),
        ("joints", c_uint32),
        ("reserved", c_uint32),
        ("read", _READ),
        ("write", _WRITE),
        ("gripper", _GRIP),
    )


class ControlLoop:
    """Move an arm by a player, once a millisecond.

    Args:
        player: What says where to.
        arm: How the robot is reached; it must live as long as the loop.

    Raises:
        TransportError: The library is of another version.
        MissingExtraError: The library is not built.
    """

    def __init__(self, player: NativePlayer, arm: RobotArm | NativeArm) -> None:
        self._library = library = _library()
        self._arm, self.player = arm, player
        self.pointer = ctypes.c_void_p()
        # They must live as long as the loop.
        self._functions = _python_functions(arm) if isinstance(arm, RobotArm) else arm.functions
        self._rows: npt.NDArray[np.float64] = empty_trace(0)
        status = library.st4vla_control_create(player.pointer, byref(self._functions), byref(self.pointer))
        if status:
            raise TransportError(library.st4vla_control_message(status).decode())
        weakref.finalize(self, library.st4vla_control_destroy, self.pointer)

    def run(self) -> Ended:
        """Control until `end`, or until the robot ends it; `text` then says why. Blocks the calling thread."""
        return Ended(self._library.st4vla_control_run(self.pointer))

    def end(self) -> None:
        """Slow down to rest and end the run; for any thread and for signal handlers."""
        self._library.st4vla_control_end(self.pointer)

    def trace(self, milliseconds: int) -> None:
        """Write down the first so many cycles; memory is taken now. Not while it runs."""
        self._rows = empty_trace(milliseconds)
        self._library.st4vla_control_trace(self.pointer, self._rows.ctypes.data, milliseconds)

    @property
    def rows(self) -> npt.NDArray[np.float64]:
        """What was written down, float64 [N, 23], by `st4vla.runtime.bridge.trace.COLUMNS`."""
        return self._rows[: self.report().cycles]

    def report(self) -> ControlReport:
        """Return what happened so far."""
        report = ControlReport()
        self._library.st4vla_control_read(self.pointer, byref(report))
        return report

    def state(self) -> RobotState | None:
        """Return what the arm measured last, or None if it never did."""
        state = RobotState()
        return None if self._library.st4vla_control_state(self.pointer, byref(state)) else state

    @property
    def text(self) -> str:
        """What the robot said when it ended the last run, or its gripper when it failed."""
        return str(self._library.st4vla_control_text(self.pointer).decode(errors="replace"))


def _python_functions(arm: RobotArm) -> RobotFunctions:
    functions = RobotFunctions(
        None,
        int(arm.joints),
        0,
        _READ(lambda _, state, text: _guarded(text, arm.read, state.contents)),
        _WRITE(lambda _, setpoint, last, text: _guarded(text, arm.write, setpoint.contents, last=bool(last))),
    )
    if isinstance(arm, GripsInPython):
        grip = arm.grip
        functions.gripper = _GRIP(lambda _, event, text: _guarded(text, grip, GripperEvent(event)))
    elif isinstance(arm, GripsByProcess) and arm.gripper_process is not None:
        functions.user = ctypes.addressof(arm.gripper_process)
        functions.gripper = ctypes.cast(_library().st4vla_gripper_process_move, _GRIP)
    return functions


def _guarded(text: Any, function: Any, *arguments: Any, **options: Any) -> int:
    """Call what may raise: nothing is thrown through C."""
    try:
        function(*arguments, **options)
    except Exception as error:
        # Cut between two characters, not within one.
        said = str(error).encode()[: TEXT_BYTES - 1].decode(errors="ignore").encode()
        ctypes.memmove(text, said + b"\0", len(said) + 1)
        return 1
    return 0


@cache
def _library() -> Any:
    library = load("st4vla_bridge", ABI_VERSION)
    for name in ("message", "text"):
        getattr(library, f"st4vla_control_{name}").restype = ctypes.c_char_p
    for name in ("run", "end", "text", "destroy"):
        getattr(library, f"st4vla_control_{name}").argtypes = [ctypes.c_void_p]
    library.st4vla_control_read.argtypes = [ctypes.c_void_p, POINTER(ControlReport)]
    library.st4vla_control_trace.argtypes = [ctypes.c_void_p, ctypes.c_void_p, c_uint64]
    library.st4vla_control_state.argtypes = [ctypes.c_void_p, POINTER(RobotState)]
    library.st4vla_control_create.argtypes = [
        ctypes.c_void_p,
        POINTER(RobotFunctions),
        POINTER(ctypes.c_void_p),
    ]
    library.st4vla_control_end.restype = library.st4vla_control_destroy.restype = None
    version = library.st4vla_control_abi_version()
    if version != ABI_VERSION:
        msg = f"the control loop's library has ABI {version}, this program {ABI_VERSION}: build both from one checkout"
        raise TransportError(msg)
    return library
