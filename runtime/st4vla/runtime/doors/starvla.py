"""What the clients of InternVLA-M1 and starVLA say and hear: requests in an envelope, or bare, as msgpack with arrays.

Read for facts: starVLA at 0ed0aad, whose client sends ``examples`` and takes ``data.actions`` [B, T, A], and
InternVLA-M1 at 949223b, whose client sends ``images`` and ``task_description``, begins with ``device`` and takes one
``raw_action``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from st4vla.contracts.errors import MalformedMessageError, ObservationError
from st4vla.contracts.messages import ActionChunk
from st4vla.contracts.wire_decoders import Buffer
from st4vla.runtime.doors.arrays import decode_tagged, encode_tagged
from st4vla.runtime.doors.dialect import MAX_ROWS, Request, Row
from st4vla.runtime.doors.door import Core
from st4vla.runtime.doors.options import DoorOptions
from st4vla.runtime.doors.packing import Packing
from st4vla.runtime.doors.pictures import ViewKeys, checked_instruction
from st4vla.runtime.doors.presenting import OWN_GRIPPER, present

INFER = "inference_result"
MAX_REQUEST_ID = 256


class StarvlaDialect:
    """starVLA's protocol for one bundle, which InternVLA-M1's clients speak in an older form.

    Raises:
        MissingExtraError: msgpack is not installed.
        UsageError: The options name views that the bundle has not.
    """

    name = "starvla"

    def __init__(self, core: Core, options: DoorOptions) -> None:
        self._core = core
        self._packing = Packing(decode_tagged, encode_tagged)
        # Pictures have no names here, only an order: the options may map their numbers.
        usual = [(str(index),) for index in range(len(core.info.views))]
        self._keys = ViewKeys(core.info.views, options.view_keys, usual)
        self._gripper = options.gripper or OWN_GRIPPER
        self._unnorm_keys = options.unnorm_keys or (core.info.name,)

    def greeting(self) -> bytes:
        """Return the metadata of the handshake."""
        info = self._core.info
        view = info.views[0]
        return self._packing.pack(
            {
                "env": "st4vla",
                "ckpt_path": info.name,
                "action_chunk_size": info.action.horizon,
                "available_unnorm_keys": list(self._unnorm_keys),
                "default_unnorm_key": self._unnorm_keys[0],
                "training_data_mix": None,
                "training_obs_image_size": [view.height, view.width],
                "action_keys": list(info.action.names),
                "state_keys": [],
                "eval_image_contract": f"{len(info.views)} pictures, in this order: "
                + ", ".join(view.name for view in info.views),
            }
        )

    def read(self, data: Buffer, received_ns: int) -> Request:
        """Understand one request.

        Raises:
            MalformedMessageError: The bytes are not msgpack, or not a map.
        """
        message = self._packing.unpack(data)
        if not isinstance(message, dict):
            msg = f"a request is a map of names to values; got {type(message).__name__}"
            raise MalformedMessageError(msg)
        request_id = message.get("request_id", "default")
        if not isinstance(request_id, str | int) or len(str(request_id)) > MAX_REQUEST_ID:
            request_id = "default"
        kind = message["type"] if isinstance(message.get("type"), str) else _kind_of(message)
        payload = message.get("payload", message)
        if kind == "ping":
            return Request(answer=self._envelope("ping", request_id))
        if kind == "init":
            return Request(answer=self._envelope("init_result", request_id))
        if kind == "reset":
            return Request(answer=self._envelope("reset_result", request_id), reset=True)
        if kind not in {"infer", "predict_action"}:
            text = f"unknown type {kind[:60]!r}; ping, init, reset and infer are known"
            return Request(answer=self._error(text, request_id, "unknown"))
        try:
            rows = self._rows(payload, received_ns)
        except ObservationError as error:
            return Request(answer=self._error(str(error), request_id))
        return Request(rows=rows, context=(request_id, "examples" in payload))

    def reply(self, request: Request, chunks: Sequence[ActionChunk], elapsed_ns: int) -> bytes:
        """Return actions float32 [B, T, A], and for the older clients the first action in three parts."""
        del elapsed_ns
        request_id, batched = request.context
        actions = np.stack([present(chunk, self._gripper) for chunk in chunks])
        data: dict[str, object] = {"actions": actions}
        if not batched:
            first = actions[0, 0]
            data["raw_action"] = {"xyz_delta": first[:3], "rotation_delta": first[3:6], "open_gripper": first[6:7]}
        return self._packing.pack({"status": "ok", "ok": True, "type": INFER, "request_id": request_id, "data": data})

    def refusal(self, text: str, context: Any = None) -> bytes:
        """Return a sentence in the error's envelope."""
        request_id = context[0] if isinstance(context, tuple) else "default"
        return self._error(text, request_id)

    def _rows(self, payload: object, received_ns: int) -> tuple[Row, ...]:
        if not isinstance(payload, dict):
            msg = f"the payload must be a map; got {type(payload).__name__}"
            raise ObservationError(msg)
        wanted = payload.get("unnorm_key")
        if wanted is not None and not (isinstance(wanted, str) and wanted in self._unnorm_keys):
            shown = str(wanted)[:60]
            msg = (
                f"unnorm_key {shown!r} is none of {', '.join(self._unnorm_keys)}; if it names the data that this "
                f"bundle was trained on, open the door with unnorm_key={shown}"
            )
            raise ObservationError(msg)
        if "examples" in payload:
            examples = payload["examples"]
            if not isinstance(examples, list) or not 1 <= len(examples) <= MAX_ROWS:
                msg = f"'examples' must be a list of 1 to {MAX_ROWS} maps with 'image' and 'lang'"
                raise ObservationError(msg)
            return tuple(self._row(example, "image", "lang", received_ns) for example in examples)
        return (self._row(payload, "images", "task_description", received_ns),)

    def _row(self, example: object, pictures_key: str, text_key: str, received_ns: int) -> Row:
        if not isinstance(example, dict) or pictures_key not in example or text_key not in example:
            msg = f"an example must hold {pictures_key!r} and {text_key!r}"
            raise ObservationError(msg)
        given = example[pictures_key]
        pictures = given if isinstance(given, list) else [given]
        views = self._core.info.views
        if len(pictures) != len(views):
            msg = f"{len(pictures)} pictures; this bundle takes {len(views)}: {', '.join(view.name for view in views)}"
            raise ObservationError(msg)
        numbered = {str(index): picture for index, picture in enumerate(pictures)}
        return Row(self._keys.take(numbered, received_ns), checked_instruction(example[text_key], text_key))

    def _envelope(self, kind: str, request_id: object) -> bytes:
        return self._packing.pack({"status": "ok", "ok": True, "type": kind, "request_id": request_id})

    def _error(self, text: str, request_id: object, kind: str = INFER) -> bytes:
        envelope: dict[str, Any] = {"status": "error", "ok": False, "type": kind, "request_id": request_id}
        return self._packing.pack(envelope | {"error": {"message": text}})


def _kind_of(message: Mapping[Any, Any]) -> str:
    """Say what a message without a type wants, as InternVLA-M1's server does."""
    if "examples" in message or "images" in message or "payload" in message:
        return "infer"
    return "init" if "device" in message else "reset" if "reset" in message else "infer"
