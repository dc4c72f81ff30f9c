"""What GR00T's clients say and hear: calls of named endpoints as msgpack with arrays in NumPy's file format.

Read for facts: Isaac-GR00T N1.5 (`gr00t/eval/service.py` at 0a015f6), whose client sends an observation as it is and
takes the actions alone, and N1.6 and N1.7 (`gr00t/policy/server_client.py` at ade260e), whose client sends
``observation`` and ``options`` and takes actions and a map of information. Observations are flat (``video.image``) from
simulators and nested (``video`` of ``image``) from robots; the actions' names follow them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from st4vla.contracts.errors import MalformedMessageError, ObservationError
from st4vla.contracts.messages import ActionChunk, View
from st4vla.contracts.wire_decoders import Buffer
from st4vla.runtime.doors.arrays import decode_npy, encode_npy
from st4vla.runtime.doors.dialect import MAX_ROWS, Request, Row
from st4vla.runtime.doors.door import Core
from st4vla.runtime.doors.options import DoorOptions
from st4vla.runtime.doors.packing import Packing
from st4vla.runtime.doors.pictures import ViewKeys, checked_instruction
from st4vla.runtime.doors.presenting import OWN_GRIPPER, action_parts, present

#: What the examples call their first and second camera: LIBERO and Google's robot, WidowX, DROID.
USUAL_KEYS = (
    ("video.image", "video.image_0", "video.exterior_image_1_left"),
    ("video.wrist_image", "video.wrist_image_left"),
)
LANGUAGE_KEY = "annotation.human.action.task_description"
KILL_REFUSED = "this server does not end because a client asks; stop it where it was started"


class Gr00tDialect:
    """GR00T's protocol for one bundle.

    Raises:
        MissingExtraError: msgpack is not installed.
        UsageError: The options name views or dimensions that the bundle has not.
    """

    name = "gr00t"

    def __init__(self, core: Core, options: DoorOptions) -> None:
        self._core = core
        self._packing = Packing(decode_npy, encode_npy)
        given = [(key if key.startswith("video.") else f"video.{key}", view) for key, view in options.view_keys]
        usual = [(*keys,) for keys in USUAL_KEYS[: len(core.info.views)]]
        usual += [() for _ in core.info.views[len(usual) :]]
        named = [(*keys, f"video.{view.name}") for keys, view in zip(usual, core.info.views, strict=True)]
        self._keys = ViewKeys(core.info.views, given, named)
        self._parts = action_parts(core.info.action, options.actions)
        self._gripper = options.gripper or OWN_GRIPPER
        self._json_text = options.version == "1.5"

    def greeting(self) -> bytes:
        """Return nothing: these servers speak when they are spoken to."""
        return b""

    def read(self, data: Buffer, received_ns: int) -> Request:
        """Understand one call.

        Raises:
            MalformedMessageError: The bytes are not msgpack, or not a map.
        """
        message = self._packing.unpack(data)
        if not isinstance(message, dict):
            msg = f"a request is a map with 'endpoint' and 'data'; got {type(message).__name__}"
            raise MalformedMessageError(msg)
        endpoint = str(message.get("endpoint", "get_action"))[:60]
        if endpoint == "ping":
            return Request(answer=self._packing.pack({"status": "ok", "message": "Server is running"}))
        if endpoint == "get_modality_config":
            return Request(answer=self._packing.pack(self._modalities()))
        if endpoint == "reset":
            return Request(answer=self._packing.pack({}), reset=True)
        if endpoint != "get_action":
            known = "ping, get_action, reset and get_modality_config are known"
            text = KILL_REFUSED if endpoint == "kill" else f"unknown endpoint {endpoint!r}; {known}"
            return Request(answer=self.refusal(text))
        try:
            return self._act(message.get("data"), received_ns)
        except ObservationError as error:
            return Request(answer=self.refusal(str(error)))

    def reply(self, request: Request, chunks: Sequence[ActionChunk], elapsed_ns: int) -> bytes:
        """Return each part of the actions: float32 [B, T, D], or [T, D] where the observation had no batch."""
        wrapped, prefix, batched = request.context
        actions = np.stack([present(chunk, self._gripper) for chunk in chunks])
        named = {
            f"{prefix}{part.name}": (actions if batched else actions[0])[..., part.first : part.last + 1]
            for part in self._parts
        }
        return self._packing.pack([named, {"elapsed_ms": elapsed_ns / 1e6}] if wrapped else named)

    def refusal(self, text: str, context: Any = None) -> bytes:
        """Return a sentence as these clients expect an error."""
        del context
        return self._packing.pack({"error": text})

    def _act(self, data: object, received_ns: int) -> Request:
        wrapped = isinstance(data, dict) and "observation" in data
        observation = data["observation"] if isinstance(data, dict) and wrapped else data
        if not isinstance(observation, dict):
            msg = f"an observation is a map of names to arrays; got {type(observation).__name__}"
            raise ObservationError(msg)
        nested = isinstance(observation.get("video"), dict)
        flat = _flat(observation)
        videos = {key: value for key, value in flat.items() if key.startswith("video.")}
        rows, batched = self._rows(videos, _instructions(flat), received_ns)
        return Request(rows=rows, context=(wrapped, "" if nested else "action.", batched))

    def _rows(self, videos: dict[str, object], texts: list[object], received_ns: int) -> tuple[tuple[Row, ...], bool]:
        """Return one row for each environment, and whether the pictures had a dimension for them."""
        arrays = [video for video in videos.values() if isinstance(video, np.ndarray)]
        batches = {array.shape[0] if array.ndim == 5 else None for array in arrays}
        if len(batches) > 1 or not all(count is None or 1 <= count <= MAX_ROWS for count in batches):
            msg = f"all videos must be uint8 [B, T, H, W, 3] with one B of 1 to {MAX_ROWS}, or all [T, H, W, 3]"
            raise ObservationError(msg)
        count = next(iter(batches), None)
        rows = count or 1
        if len(texts) != rows:
            msg = f"{len(texts)} instructions for {rows} environments; each needs one"
            raise ObservationError(msg)
        return tuple(
            Row(self._views(videos, row, received_ns), checked_instruction(text, LANGUAGE_KEY))
            for row, text in enumerate(texts)
        ), count is not None

    def _views(self, videos: dict[str, object], row: int, received_ns: int) -> tuple[View, ...]:
        return self._keys.take({key: _newest(video, row) for key, video in videos.items()}, received_ns)

    def _modalities(self) -> dict[str, object]:
        names = [part.name for part in self._parts]
        cameras = [key.removeprefix("video.") for key in self._keys.first_choices]
        horizon = list(range(self._core.info.action.horizon))
        # A state is not used, but clients build their observations by these lists, and some fail without one.
        wanted = {
            "video": ([0], cameras),
            "state": ([0], names),
            "action": (horizon, names),
            "language": ([0], [LANGUAGE_KEY]),
        }
        return {name: self._modality(*lists) for name, lists in wanted.items()}

    def _modality(self, delta_indices: list[int], modality_keys: list[str]) -> dict[str, object]:
        fields = {"delta_indices": delta_indices, "modality_keys": modality_keys}
        return {
            "__ModalityConfig_class__": True,
            "as_json": json.dumps(fields) if self._json_text else fields,
            # The DROID example has a copy of the client that reads this name.
            "as_dict": fields,
        }


def _flat(observation: Mapping[object, object]) -> dict[str, object]:
    """Return an observation with flat keys: ``video`` of ``image`` as ``video.image``, language under its own names."""
    flat: dict[str, object] = {}
    for key, value in observation.items():
        if isinstance(value, dict):
            outer = "" if key == "language" else f"{key}."
            flat |= {f"{outer}{inner}": entry for inner, entry in value.items()}
        elif isinstance(key, str):
            flat[key] = value
    return flat


def _instructions(flat: Mapping[str, object]) -> list[object]:
    named = [key for key in flat if key.startswith("annotation.") or key in {"task", "language", "lang"}]
    if not named:
        msg = f"no instruction: it is taken from 'annotation.*' or 'task', for example {LANGUAGE_KEY!r}"
        raise ObservationError(msg)
    value = flat[named[0]]
    return value if isinstance(value, list) else [value]


def _newest(video: object, row: int) -> object:
    """Return the last frame of one environment's video; what is no video comes back to be refused by name."""
    if isinstance(video, np.ndarray) and video.ndim == 5:
        video = video[row]
    if isinstance(video, np.ndarray) and video.ndim == 4 and len(video):
        return video[-1]
    return video
