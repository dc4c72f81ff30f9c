"""What a flashing host and a device say to each other, through `ssh HOST st4vla device agent`.

Each message is its length (4 bytes, little-endian) and MessagePack, tagged with its kind. The host asks, one thing at a
time; the device answers. Nothing is believed because of the way it came: what is installed is what is signed.

::

    host                                  device
    Hello                            ->   Welcome
    Offer(manifest, release)         ->   Wanted(objects)             what of it is not there yet
    Data(sha256, offset, bytes) ...  ->   Stored(sha256) ...          an object is whole, and on disk
    Install(digest)                  ->   Progress ... Finished       goes on when the link is cut
    Watch                            ->   Progress ... Finished       of the flash that runs, or the last one
    Cancel                           ->   Finished                    ends a flash that has not switched yet
    Rollback                         ->   Progress ... Finished       to the other slot, or back from a trial
    Ask                              ->   Told(status)
    Trust(envelope)                  ->   Told(status)
    anything                         ->   Refused
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from st4vla.contracts.device_status import DeviceStatus, Outcome, Step
from st4vla.contracts.errors import TransportError

PROTOCOL = 1
#: Bytes of a file in one message.
DATA_BYTES = 1 << 20
#: A length beyond this is not ours: perhaps a greeting that a login shell printed.
MAX_MESSAGE_BYTES = 1 << 24
_LENGTH = struct.Struct("<I")
#: MessagePack's empty binary (`bin 8`), and the beginning of one of any length (`bin 32`).
_NO_BYTES = b"\xc4\x00"
_BIN32 = 0xC6
_BYTES = struct.Struct(">BI")


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class Hello(_Message, frozen=True, tag="hello"):
    """The host's first word."""

    protocol: int
    version: str


class Offer(_Message, frozen=True, tag="offer"):
    """A bundle: the bytes of its `bundle.json` and of its `release.json`. It is verified before a file is asked for."""

    manifest: bytes
    release: bytes


class Data(_Message, frozen=True, tag="data"):
    """A part of an object's bytes, in order and without a gap after what the device said it has."""

    sha256: str
    offset: int
    data: bytes


class Install(_Message, frozen=True, tag="install"):
    """Install the bundle of this manifest, whose objects are all there; if `dry_run`, only say what would happen."""

    digest: str
    dry_run: bool = False


class Watch(_Message, frozen=True, tag="watch"):
    """Tell how the flash goes that runs, or how the last one ended."""


class Cancel(_Message, frozen=True, tag="cancel"):
    """End the flash that runs, unless it has switched already."""


class Rollback(_Message, frozen=True, tag="rollback"):
    """Go back to the other slot, or end a trial."""


class Ask(_Message, frozen=True, tag="ask"):
    """Ask how the device is."""


class Trust(_Message, frozen=True, tag="trust"):
    """Bring a newer list of trusted keys: the bytes of its envelope."""

    envelope: bytes


class Welcome(_Message, frozen=True, tag="welcome"):
    """The device's first word."""

    protocol: int
    status: DeviceStatus


class WantedObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object that is missing, and from which byte on."""

    sha256: str
    size: int
    offset: int = 0


class Wanted(_Message, frozen=True, tag="wanted"):
    """What of an offer is missing, each object once."""

    digest: str
    objects: tuple[WantedObject, ...]


class Stored(_Message, frozen=True, tag="stored"):
    """An object has arrived whole; or its bytes were not those of its digest, and it is wanted from its first byte."""

    sha256: str
    ok: bool = True


class Progress(_Message, frozen=True, tag="progress"):
    """How far a flash is.

    Attributes:
        step: What is being done.
        text: In words, for people.
        fraction: Of this step, 0 to 1, where that is known.
    """

    step: Step
    text: str = ""
    fraction: float | None = None


class Finished(_Message, frozen=True, tag="finished"):
    """A flash has ended, or a dry run has been thought through."""

    outcome: Outcome
    status: DeviceStatus


class Told(_Message, frozen=True, tag="told"):
    """How the device is."""

    status: DeviceStatus


class Refused(_Message, frozen=True, tag="refused"):
    """A question that is not answered: which step it failed in, the class of the error, and its sentence."""

    step: Step
    error: str
    message: str


Request = Hello | Offer | Data | Install | Watch | Cancel | Rollback | Ask | Trust
Answer = Welcome | Wanted | Stored | Progress | Finished | Told | Refused

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(message: Request | Answer) -> bytes:
    """Return a message with its length before it."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def data_head(sha256: str, offset: int, size: int) -> bytes:
    """Return the beginning of a `Data` message, length and all; its bytes, `size` of them, come right after it.

    So a file's bytes can go their way without being copied into a message.
    """
    without = _encoder.encode(Data(sha256, offset, b"")).removesuffix(_NO_BYTES)
    head = without + _BYTES.pack(_BIN32, size)
    return _LENGTH.pack(len(head) + size) + head


def decode_request(body: bytes) -> Request:
    """Return what a host asks.

    Raises:
        TransportError: It is no request of this protocol.
    """
    try:
        return _requests.decode(body)
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"not a request of flashing protocol {PROTOCOL}: {error}; both sides need the same st4vla"
        raise TransportError(msg) from error


def decode_answer(body: bytes) -> Answer:
    """Return what a device answers.

    Raises:
        TransportError: It is no answer of this protocol.
    """
    try:
        return _answers.decode(body)
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"not an answer of flashing protocol {PROTOCOL}: {error}; both sides need the same st4vla"
        raise TransportError(msg) from error


def message_length(head: bytes | bytearray) -> int:
    """Return how long a message is, from the bytes that come before it.

    Raises:
        TransportError: A length that is not ours.
    """
    (length,) = _LENGTH.unpack_from(head)
    if length > MAX_MESSAGE_BYTES:
        msg = (
            f"the other side does not speak the flashing protocol; it begins with {bytes(head[:60])!r}. Does a login "
            "script print something? It must not for a shell that nobody sits at"
        )
        raise TransportError(msg)
    return int(length)


class MessageBuffer:
    """Bytes as they come, and the whole messages in them."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes and yield the body of each message that is whole by now.

        Raises:
            TransportError: A length that is not ours.
        """
        self._bytes += data
        while len(self._bytes) >= _LENGTH.size:
            end = _LENGTH.size + message_length(self._bytes)
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[_LENGTH.size : end])
            del self._bytes[:end]
            yield body

    @property
    def pending(self) -> int:
        """Bytes of a message that is not whole."""
        return len(self._bytes)
