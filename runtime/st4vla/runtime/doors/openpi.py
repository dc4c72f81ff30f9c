"""What openpi's clients say and hear: observations and actions as msgpack with NumPy arrays, errors as text.

Read for facts: openpi at 15a9616, `openpi_client` 0.1.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from st4vla.contracts.clock import NS_PER_MS, NS_PER_S
from st4vla.contracts.errors import MalformedMessageError, ObservationError
from st4vla.contracts.messages import ActionChunk, ActionRepresentation
from st4vla.contracts.wire_decoders import Buffer
from st4vla.runtime.doors.arrays import decode_tagged, encode_tagged
from st4vla.runtime.doors.dialect import Request, Row
from st4vla.runtime.doors.door import Core
from st4vla.runtime.doors.options import DoorOptions
from st4vla.runtime.doors.packing import Packing
from st4vla.runtime.doors.pictures import ViewKeys, checked_instruction
from st4vla.runtime.doors.presenting import present

#: What the examples call their first and second camera: LIBERO, then DROID.
USUAL_KEYS = (
    ("observation/image", "observation/exterior_image_1_left"),
    ("observation/wrist_image", "observation/wrist_image_left"),
)
#: LIBERO's simulator takes -1 for open and 1 for closed; DROID's arm takes 0 and 1.
LIBERO_GRIPPER = (-1.0, 1.0)
DROID_GRIPPER = (0.0, 1.0)


class OpenpiDialect:
    """openpi's protocol for one bundle.

    Raises:
        MissingExtraError: msgpack is not installed.
        UsageError: The options name views that the bundle has not.
    """

    name = "openpi"

    def __init__(self, core: Core, options: DoorOptions) -> None:
        self._core = core
        self._packing = Packing(decode_tagged, encode_tagged)
        self._keys = ViewKeys(core.info.views, options.view_keys, USUAL_KEYS)
        joints = core.info.action.representation is not ActionRepresentation.EE_DELTA
        self._gripper = options.gripper or (DROID_GRIPPER if joints else LIBERO_GRIPPER)

    def greeting(self) -> bytes:
        """Return the metadata; openpi leaves their keys to the server."""
        welcome = self._core.welcome()
        return self._packing.pack(
            {
                "server": "st4vla",
                "bundle": welcome.bundle_name,
                "bundle_digest": welcome.bundle_digest.hex(),
                "action_horizon": welcome.horizon,
                "action_dim": welcome.action_dim,
                "action_representation": welcome.representation.name.lower(),
                "action_period_s": welcome.period_ns / NS_PER_S,
                "image_keys": list(self._keys.first_choices),
                "image_sizes": [[view.height, view.width] for view in welcome.views],
            }
        )

    def read(self, data: Buffer, received_ns: int) -> Request:
        """Understand one observation.

        Raises:
            MalformedMessageError: The bytes are not msgpack, or not a map.
        """
        message = self._packing.unpack(data)
        if not isinstance(message, dict):
            msg = f"an observation is a map of names to values; got {type(message).__name__}"
            raise MalformedMessageError(msg)
        observation = _flat(message)
        try:
            if "prompt" not in observation:
                msg = "no 'prompt', the instruction, in the observation"
                raise ObservationError(msg)
            instruction = checked_instruction(observation["prompt"], "prompt")
            views = self._keys.take(observation, received_ns)
        except ObservationError as error:
            return Request(answer=self.refusal(str(error)))
        return Request(rows=(Row(views, instruction),))

    def reply(self, request: Request, chunks: Sequence[ActionChunk], elapsed_ns: int) -> bytes:
        """Return actions float32 [T, A] and how long they took."""
        del request
        (chunk,) = chunks
        return self._packing.pack(
            {
                "actions": present(chunk, self._gripper),
                "policy_timing": {"infer_ms": chunk.inference_ns / NS_PER_MS},
                "server_timing": {"infer_ms": elapsed_ns / NS_PER_MS},
            }
        )

    def refusal(self, text: str, context: Any = None) -> str:
        """Return a sentence as text, which these clients raise as an error."""
        del context
        return text


def _flat(message: Mapping[object, object]) -> dict[str, object]:
    """Return a map with the maps in it unfolded, ``images`` of ``cam`` as ``images/cam``."""
    flat: dict[str, object] = {}
    for key, value in message.items():
        if isinstance(value, dict):
            flat |= {f"{key}/{inner}": entry for inner, entry in value.items()}
        elif isinstance(key, str):
            flat[key] = value
    return flat
