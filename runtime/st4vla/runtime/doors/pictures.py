"""From the pictures in a foreign request to the views of the bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from st4vla.contracts.errors import ObservationError, UsageError
from st4vla.contracts.manifests import ViewSpec
from st4vla.contracts.messages import MAX_IMAGE_SIDE, MAX_INSTRUCTION_BYTES, View
from st4vla.runtime.framing import fit


def make_view(spec: ViewSpec, pixels: object, key: str, received_ns: int) -> View:
    """Return a picture as a view of the bundle, resized if need be.

    Args:
        spec: The view it becomes.
        pixels: Supposed to be RGB uint8 [H, W, 3]; [3, H, W] is taken too.
        key: What the client calls it, for messages.
        received_ns: These protocols carry no times, so the arrival stands for the capture.

    Raises:
        ObservationError: It is no such picture.
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3:
        have = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        msg = f"{key!r} must be a picture of uint8 [H, W, 3]; got {have}"
        raise ObservationError(msg)
    picture: npt.NDArray[np.uint8] = pixels
    if picture.shape[2] != 3 and picture.shape[0] == 3:
        picture = np.moveaxis(picture, 0, 2)
    height, width, channels = picture.shape
    if channels != 3 or not (1 <= height <= MAX_IMAGE_SIDE and 1 <= width <= MAX_IMAGE_SIDE):
        msg = (
            f"{key!r} must be a picture of three colours and at most {MAX_IMAGE_SIDE} a side; got {list(pixels.shape)}"
        )
        raise ObservationError(msg)
    fitted = fit(np.ascontiguousarray(picture), spec.height, spec.width)
    return View.from_pixels(spec.name, fitted, received_ns)


def checked_instruction(text: object, key: str) -> str:
    """Return an instruction, out of lists of one if need be.

    Raises:
        ObservationError: It is not one text, or longer than an observation can carry.
    """
    while isinstance(text, list) and len(text) == 1:
        text = text[0]
    if not isinstance(text, str):
        msg = f"{key!r} must be one text, the instruction; got {type(text).__name__}"
        raise ObservationError(msg)
    if len(text.encode(errors="replace")) > MAX_INSTRUCTION_BYTES:
        msg = f"{key!r} is longer than the {MAX_INSTRUCTION_BYTES} bytes that an instruction may have"
        raise ObservationError(msg)
    return text


class ViewKeys:
    """Under which keys a client may send each of the bundle's views.

    Args:
        specs: The bundle's views, in order.
        given: Pairs of a key and a view's name, as the door's options say; they go first.
        usual: For the first view, the second and so on, the keys that the protocol's clients use.

    Attributes:
        first_choices: For each view, the key that a client is told.

    Raises:
        UsageError: A given view is not one of the bundle's.
    """

    def __init__(
        self, specs: Sequence[ViewSpec], given: Sequence[tuple[str, str]], usual: Sequence[Sequence[str]]
    ) -> None:
        names = [spec.name for spec in specs]
        for key, name in given:
            if name not in names:
                msg = (
                    f"--door: {key}={name} names no view of this bundle, which has {', '.join(names)}; nor is "
                    f"{key} an option of a door"
                )
                raise UsageError(msg)
        self._specs = tuple(specs)
        self._keys: list[tuple[str, ...]] = []
        claimed = {key for key, _ in given}
        for index, name in enumerate(names):
            wanted = [key for key, view in given if view == name]
            customary = usual[index] if index < len(usual) else ()
            self._keys.append((*wanted, *(key for key in (*customary, name) if key not in claimed)))
        self.first_choices = tuple(keys[0] for keys in self._keys)

    def take(self, observation: Mapping[str, object], received_ns: int) -> tuple[View, ...]:
        """Return all views of the bundle out of an observation's pictures.

        Raises:
            ObservationError: A view is missing, or what stands under its key is no picture.
        """
        views = []
        for spec, keys in zip(self._specs, self._keys, strict=True):
            key = next((key for key in keys if key in observation), None)
            if key is None:
                msg = (
                    f"no picture for the view {spec.name!r}: it is taken from {' or '.join(map(repr, keys))}, and the "
                    f"request holds {', '.join(map(repr, list(observation)[:12])) or 'nothing'}"
                )
                raise ObservationError(msg)
            views.append(make_view(spec, observation[key], key, received_ns))
        return tuple(views)
