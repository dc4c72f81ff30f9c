"""The 1 kHz player of the firmware bridge (`firmware_bridge/include/st4vla/player.h`)."""

from __future__ import annotations

import ctypes
import weakref
from ctypes import POINTER, Structure, byref, c_double, c_int16, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64
from enum import IntEnum
from functools import cache
from typing import Any

from st4vla.contracts.errors import TransportError
from st4vla.contracts.messages import MAX_JOINTS, ActionRepresentation
from st4vla.contracts.staleness import AgeBounds, Staleness
from st4vla.runtime.native_library import load

#: `ST4VLA_PLAYER_ABI_VERSION`.
ABI_VERSION = 1


class Robot(IntEnum):
    """Whose limits are the default."""

    FRANKA_RESEARCH_3 = 1
    FRANKA_PANDA = 2


class Limits(Structure):
    """Of the length of a vector, or of each joint; SI units."""

    _fields_ = (("velocity", c_double), ("acceleration", c_double), ("jerk", c_double))


class Ages(Structure):
    """Ages from which it slows down, holds and stops; 0: none."""

    _fields_ = (("slow_ns", c_int64), ("hold_ns", c_int64), ("stop_ns", c_int64))

    def set(self, bounds: AgeBounds) -> None:
        """Take over bounds."""
        self.slow_ns, self.hold_ns, self.stop_ns = bounds.slow_ns, bounds.hold_ns, bounds.stop_ns


class PlayerConfig(Structure):
    """`st4vla_player_config`."""

    _fields_ = (
        ("representation", c_uint16),
        ("action_dim", c_uint16),
        ("gripper_index", c_int16),
        ("joint_count", c_uint16),
        ("frame", Ages),
        ("plan", Ages),
        ("blend_ns", c_int64),
        ("translation", Limits),
        ("rotation", Limits),
        ("joints", Limits * MAX_JOINTS),
        ("workspace_low_m", c_double * 3),
        ("workspace_high_m", c_double * 3),
        ("joint_low_rad", c_double * MAX_JOINTS),
        ("joint_high_rad", c_double * MAX_JOINTS),
        ("joint_braking_rad_s2", c_double * MAX_JOINTS),
        ("leash_m", c_double),
        ("turn_rad", c_double),
        ("leash_rad", c_double),
        ("gripper_close_below", c_double),
        ("gripper_open_above", c_double),
    )

    @classmethod
    def default(cls, robot: Robot = Robot.FRANKA_RESEARCH_3) -> PlayerConfig:
        """Return a robot's limits with the library's own margins, for end-effector deltas and a gripper.

        Raises:
            MissingExtraError: The library is not built.
        """
        config = cls()
        check(_library().st4vla_player_config_default(robot, byref(config)))
        return config

    def scale(self, dynamics: float) -> None:
        """Keep a share of each velocity, acceleration and jerk, above 0 and up to 1."""
        for limits in (self.translation, self.rotation, *self.joints):
            limits.velocity *= dynamics
            limits.acceleration *= dynamics
            limits.jerk *= dynamics

    def set_actions(self, representation: ActionRepresentation, action_dim: int, gripper_index: int | None) -> None:
        """Say what the chunks hold."""
        self.representation, self.action_dim = representation, action_dim
        self.gripper_index = -1 if gripper_index is None else gripper_index
        if representation is not ActionRepresentation.EE_DELTA:
            self.joint_count = action_dim - (gripper_index is not None)

    def set_staleness(self, staleness: Staleness) -> None:
        """Take over the bounds of each age that has any; the player keeps its own for the others."""
        for ages, bounds in ((self.frame, staleness.frame), (self.plan, staleness.plan)):
            if bounds != AgeBounds():
                ages.set(bounds)


class PlayerReport(Structure):
    """`st4vla_player_report`."""

    _fields_ = (
        ("steps", c_uint64),
        ("chunks_played", c_uint64),
        ("chunks_refused_old", c_uint64),
        ("chunks_refused_time", c_uint64),
        ("clock_steps_back", c_uint64),
        ("stops", c_uint64),
        ("corrections", c_uint64),
        ("chunk_id", c_uint64),
        ("pace", c_uint16),
        ("reason", c_uint16),
        ("at_rest", c_uint8),
        ("reserved", c_uint8 * 3),
    )


class Setpoint(Structure):
    """`st4vla_player_setpoint`."""

    _fields_ = (
        ("base_T_ee", c_double * 16),
        ("quaternion_wxyz", c_double * 4),
        ("twist", c_double * 6),
        ("joint_positions_rad", c_double * MAX_JOINTS),
        ("joint_velocities_rad_s", c_double * MAX_JOINTS),
        ("gripper_opening", c_double),
        ("frame_age_ns", c_int64),
        ("plan_age_ns", c_int64),
        ("chunk_id", c_uint64),
        ("action_index", c_int32),
        ("gripper_count", c_uint32),
        ("pace", c_uint16),
        ("reason", c_uint16),
        ("gripper", c_uint16),
        ("at_rest", c_uint8),
        ("limited", c_uint8),
    )


class NativePlayer:
    """A player; its memory goes with this object.

    Args:
        config: What it plays and within which limits.

    Raises:
        TransportError: The config is not one; the message says what is wrong.
        MissingExtraError: The library is not built.
    """

    def __init__(self, config: PlayerConfig) -> None:
        library = _library()
        self.pointer = ctypes.c_void_p()
        check(library.st4vla_player_create(byref(config), byref(self.pointer)))
        self._library = library
        weakref.finalize(self, library.st4vla_player_destroy, self.pointer)

    def resume(self) -> None:
        """Move again after a stop, from the next chunk on: an operator's decision, never a program's.

        Raises:
            TransportError: It has not stopped, or is not at rest yet.
        """
        check(self._library.st4vla_player_resume(self.pointer))

    def stop(self) -> None:
        """Come to rest, and stay there until `resume`."""
        check(self._library.st4vla_player_stop(self.pointer))

    def report(self) -> PlayerReport:
        """Return what it does."""
        report = PlayerReport()
        check(self._library.st4vla_player_read(self.pointer, byref(report)))
        return report

    @property
    def rest_bound_ns(self) -> int:
        """How long a stop can take from any motion that the limits allow."""
        return int(self._library.st4vla_player_rest_bound_ns(self.pointer))


def check(status: int) -> None:
    """Raise what a status of the player says.

    Raises:
        TransportError: It is not 0.
    """
    if status:
        raise TransportError(f"the player refused: {_library().st4vla_player_message(status).decode()}")


@cache
def _library() -> Any:
    library = load("st4vla_bridge", ABI_VERSION)
    library.st4vla_player_message.restype = ctypes.c_char_p
    library.st4vla_player_rest_bound_ns.restype = c_int64
    library.st4vla_player_create.argtypes = [POINTER(PlayerConfig), POINTER(ctypes.c_void_p)]
    for name in ("destroy", "resume", "stop", "rest_bound_ns"):
        getattr(library, f"st4vla_player_{name}").argtypes = [ctypes.c_void_p]
    library.st4vla_player_read.argtypes = [ctypes.c_void_p, POINTER(PlayerReport)]
    library.st4vla_player_destroy.restype = None
    version = library.st4vla_player_abi_version()
    if version != ABI_VERSION:
        msg = f"the player's library has ABI {version}, this program {ABI_VERSION}: build both from one checkout"
        raise TransportError(msg)
    return library
