"""From cameras to a runtime and from its chunks to a player, in threads that Python's lock does not hold up.

`firmware_bridge/include/st4vla/bridge.h`, `cameras.h` and `stream.h`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_int64, c_uint32, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from typing_extensions import Self

from st4vla.contracts.errors import TransportError
from st4vla.runtime.bridge.control import ControlLoop
from st4vla.runtime.bridge.player import NativePlayer
from st4vla.runtime.native_library import load

#: `ST4VLA_ABI_VERSION`.
ABI_VERSION = 1
#: `st4vla_source`.
SOURCES = {"v4l2": 1, "folder": 2, "pattern": 3, "memory": 4}


class Camera(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one view's pictures come from.

    Attributes:
        name: Of the view, as the bundle has it.
        source: One of `SOURCES`.
        path: The device, folder or memory; a pattern needs none.
        height: Pixels; of a device and a pattern.
        width: Pixels.
        rate_hz: Pictures a second; a memory has its writer's.
    """

    name: str
    source: str
    path: str = ""
    height: int = 0
    width: int = 0
    rate_hz: float = 20.0


class _CameraConfig(Structure):
    _fields_ = (
        ("name", c_char_p),
        ("path", c_char_p),
        ("source", c_uint32),
        ("height", c_uint32),
        ("width", c_uint32),
        ("reserved", c_uint32),
        ("rate_hz", c_double),
    )


class _BridgeConfig(Structure):
    _fields_ = (
        ("abi_version", c_uint32),
        ("jpeg_quality", c_uint32),
        ("endpoint", c_char_p),
        ("secret_key_file", c_char_p),
        ("server_key_file", c_char_p),
        ("max_frame_age_ns", c_int64),
        ("on_chunk", c_void_p),
        ("context", c_void_p),
    )


class _StreamConfig(Structure):
    _fields_ = (
        ("instruction", c_char_p),
        ("seed", c_uint64),
        ("deadline_ns", c_int64),
        ("flags", c_uint32),
        ("reserved", c_uint32),
        ("control", c_void_p),
    )


class StreamReport(Structure):
    """`st4vla_stream_report`."""

    _fields_ = (
        ("sent", c_uint64),
        ("refused", c_uint64),
        ("silences", c_uint64),
        ("last_status", c_uint32),
        ("reserved", c_uint32),
    )


class Link:
    """Cameras, a runtime and a player, joined.

    Args:
        endpoint: The runtime's address.
        cameras: Where its views come from, the one that paces the frames first.
        player: What plays the chunks.
        instruction: What the policy is told.
        control: The loop whose arm's state goes out with the frames.
        seed: Of the first frame's noise.
        keys: This client's secret key file and the runtime's public one, for a runtime that asks for them.

    Raises:
        TransportError: A camera, an address or a key file that is of no use; the message says what to do.
        MissingExtraError: The library is not built.
    """

    def __init__(
        self,
        endpoint: str,
        cameras: Sequence[Camera],
        player: NativePlayer,
        instruction: str,
        *,
        control: ControlLoop | None = None,
        seed: int = 0,
        keys: tuple[Path, Path] | None = None,
    ) -> None:
        library = self._library = _library()
        self._bridge, self._cameras, self._stream = c_void_p(), c_void_p(), c_void_p()
        # What C keeps a pointer to.
        self._kept = (player, control)
        secret, server = (os.fsencode(path) for path in keys) if keys else (None, None)
        play = ctypes.cast(library.st4vla_stream_play, c_void_p)
        bridge = _BridgeConfig(ABI_VERSION, 0, endpoint.encode(), secret, server, 0, play, player.pointer)
        configs = (_CameraConfig * len(cameras))(*(_camera(camera) for camera in cameras))
        stream = _StreamConfig(instruction.encode(), seed, 0, 0, 0, control.pointer if control else None)
        try:
            self._check(library.st4vla_bridge_open(byref(bridge), byref(self._bridge)))
            self._check(library.st4vla_cameras_open(configs, len(cameras), byref(self._cameras)))
            self._check(library.st4vla_stream_start(self._bridge, self._cameras, byref(stream), byref(self._stream)))
        except TransportError:
            self.close()
            raise

    def tell(self, instruction: str) -> None:
        """Tell the policy something else, from the next frame on.

        Raises:
            TransportError: Nothing, or too much.
        """
        self._check(self._library.st4vla_stream_tell(self._stream, instruction.encode()))

    def report(self) -> StreamReport:
        """Return what came of the frames."""
        report = StreamReport()
        self._check(self._library.st4vla_stream_read(self._stream, byref(report)))
        return report

    def counts(self) -> dict[str, int]:
        """Return what the bridge has counted, by name."""
        counts: dict[str, int] = {}
        while name := self._library.st4vla_counter_name(len(counts)):
            counts[name.decode()] = int(self._library.st4vla_bridge_count(self._bridge, len(counts)))
        return counts

    def close(self) -> None:
        """Stop sending, say goodbye and free the cameras."""
        self._library.st4vla_stream_stop(self._stream)
        self._library.st4vla_bridge_close(self._bridge)
        self._library.st4vla_cameras_close(self._cameras)
        self._stream, self._bridge, self._cameras = c_void_p(), c_void_p(), c_void_p()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, status: int) -> None:
        if status:
            text = self._library.st4vla_status_text(status).decode()
            detail = self._library.st4vla_detail().decode(errors="replace")
            raise TransportError(f"{text}: {detail}" if detail else text)


def _camera(camera: Camera) -> _CameraConfig:
    source = SOURCES[camera.source]
    return _CameraConfig(
        camera.name.encode(), os.fsencode(camera.path), source, camera.height, camera.width, 0, camera.rate_hz
    )


@cache
def _library() -> Any:
    library = load("st4vla_bridge", ABI_VERSION)
    for name in ("status_text", "detail", "counter_name"):
        getattr(library, f"st4vla_{name}").restype = c_char_p
    for name in ("bridge_close", "cameras_close", "stream_stop"):
        getattr(library, f"st4vla_{name}").argtypes = [c_void_p]
        getattr(library, f"st4vla_{name}").restype = None
    library.st4vla_bridge_open.argtypes = [POINTER(_BridgeConfig), POINTER(c_void_p)]
    library.st4vla_bridge_count.argtypes = [c_void_p, c_uint32]
    library.st4vla_bridge_count.restype = c_uint64
    library.st4vla_cameras_open.argtypes = [POINTER(_CameraConfig), ctypes.c_size_t, POINTER(c_void_p)]
    library.st4vla_stream_start.argtypes = [c_void_p, c_void_p, POINTER(_StreamConfig), POINTER(c_void_p)]
    library.st4vla_stream_tell.argtypes = [c_void_p, c_char_p]
    library.st4vla_stream_read.argtypes = [c_void_p, POINTER(StreamReport)]
    version = library.st4vla_abi_version()
    if version != ABI_VERSION:
        msg = f"the bridge's library has ABI {version}, this program {ABI_VERSION}: build both from one checkout"
        raise TransportError(msg)
    return library
