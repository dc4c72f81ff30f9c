"""A Franka arm through libfranka itself (`firmware_bridge/include/st4vla/franka.h`): no Python in a cycle."""

from __future__ import annotations

import ctypes
import weakref
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_int, c_uint32, c_void_p
from functools import cache
from typing import Any

from st4vla.contracts.errors import TransportError
from st4vla.runtime.bridge.control import TEXT_BYTES, RobotFunctions
from st4vla.runtime.bridge.franka import JOINTS, FrankaConfig
from st4vla.runtime.native_library import load

#: `ST4VLA_FRANKA_ABI_VERSION`.
ABI_VERSION = 1


class _Config(Structure):
    """`st4vla_franka_config`."""

    _fields_ = (
        ("joints", c_uint32),
        ("impedance", c_uint32),
        ("real_time", c_uint32),
        ("gripper", c_uint32),
        ("torque_contact_Nm", c_double * JOINTS),
        ("torque_collision_Nm", c_double * JOINTS),
        ("force_contact_N", c_double * 6),
        ("force_collision_N", c_double * 6),
        ("gripper_width_m", c_double),
        ("gripper_speed_m_s", c_double),
        ("gripper_force_N", c_double),
    )


class NativeFranka:
    """A robot for `ControlLoop`.

    Args:
        address: The arm's, without a port.
        config: How it is commanded.

    Raises:
        MissingExtraError: The library is not built: CMake found no libfranka.
        TransportError: No robot answers, or it refuses its settings.
    """

    def __init__(self, address: str, config: FrankaConfig | None = None) -> None:
        self._library = library = _library()
        config = config or FrankaConfig()
        self._pointer = c_void_p()
        given = _Config()
        library.st4vla_franka_config_default(byref(given))
        given.joints, given.real_time, given.gripper = config.joints, config.real_time, config.gripper
        given.torque_contact_Nm[:] = given.torque_collision_Nm[:] = config.torque_Nm
        given.force_contact_N[:] = given.force_collision_N[:] = config.force_N
        given.gripper_width_m, given.gripper_speed_m_s = config.gripper_width_m, config.gripper_speed_m_s
        given.gripper_force_N = config.gripper_force_N
        text = ctypes.create_string_buffer(TEXT_BYTES)
        if status := library.st4vla_franka_open(address.encode(), byref(given), byref(self._pointer), text):
            msg = f"no Franka at {address} that can be controlled: {self._said(status, text)}"
            raise TransportError(msg)
        self._close = weakref.finalize(self, library.st4vla_franka_close, self._pointer)

    @property
    def functions(self) -> RobotFunctions:
        """What the control loop calls."""
        functions = RobotFunctions()
        self._library.st4vla_franka_robot(self._pointer, byref(functions))
        return functions

    def recover(self, *, looked: bool = False) -> None:
        """Clear the error that ended a run, so that another may begin; nothing moves.

        Args:
            looked: Somebody looked at the arm after a collision, and it may go on.

        Raises:
            TransportError: Somebody must look first, or the robot refuses.
        """
        text = ctypes.create_string_buffer(TEXT_BYTES)
        if status := self._library.st4vla_franka_recover(self._pointer, int(looked), text):
            raise TransportError(self._said(status, text))

    def close(self) -> None:
        """Disconnect; no loop may be running."""
        self._close()

    def _said(self, status: int, text: Any) -> str:
        means: str = self._library.st4vla_franka_message(status).decode()
        return f"{means} ({text.value.decode(errors='replace')})"


@cache
def _library() -> Any:
    library = load("st4vla_franka", ABI_VERSION)
    library.st4vla_franka_message.restype = c_char_p
    library.st4vla_franka_open.argtypes = [c_char_p, POINTER(_Config), POINTER(c_void_p), c_char_p]
    library.st4vla_franka_robot.argtypes = [c_void_p, POINTER(RobotFunctions)]
    library.st4vla_franka_recover.argtypes = [c_void_p, c_int, c_char_p]
    library.st4vla_franka_close.argtypes = [c_void_p]
    library.st4vla_franka_close.restype = library.st4vla_franka_config_default.restype = None
    version = library.st4vla_franka_abi_version()
    if version != ABI_VERSION:
        msg = f"the Franka's library has ABI {version}, this program {ABI_VERSION}: build both from one checkout"
        raise TransportError(msg)
    return library
