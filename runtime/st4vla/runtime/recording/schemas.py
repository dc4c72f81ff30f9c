"""Dataclasses as protobuf messages: what Foxglove and Rerun both read.

Foxglove shows JSON and protobuf, Rerun shows pictures only in protobuf (and ROS 2) and takes other protobuf messages
apart by the schema that lies beside them in the file. A field's number is its place in the dataclass, so fields are
only ever added at the end. A number that an int64 cannot hold is kept modulo 2**64, as the wire would send it.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from types import NoneType
from typing import Annotated, Any, Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

T = TypeVar("T")

#: Numbers of up to 2**64 - 1, such as seeds.
Unsigned = Annotated[int, "uint64"]
Fixed32 = Annotated[int, "fixed32"]
Float32s = Annotated[npt.NDArray[np.float32], "float"]
Float64s = Annotated[npt.NDArray[np.float64], "double"]

_FIELD = descriptor_pb2.FieldDescriptorProto
#: Bytes fields longer than this are put in by hand.
LONG_BYTES = 1 << 12
_TIMESTAMP = "google.protobuf.Timestamp"
_SCALARS = {int: "int64", bool: "bool", str: "string", bytes: "bytes", float: "double"}
_DTYPES: dict[str, Any] = {"float": np.float32, "double": np.float64}


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A time of day in nanoseconds since 1970."""

    ns: int


@dataclass(frozen=True)
class _Field:
    """A field: its protobuf type, the dataclass behind it if it is a message, and how often it may come."""

    name: str
    kind: str
    message: type | None = None
    repeated: bool = False
    optional: bool = False


class Schema(Generic[T]):
    """A dataclass as a protobuf message.

    Args:
        record: The dataclass. Fields are int, `Unsigned`, `Fixed32`, bool, str, bytes, float, `Float32s`, `Float64s`,
            `Timestamp`, other such dataclasses, ``| None`` of these and tuples of them.
        package: Its package: with the dataclass's name the schema's name, such as ``foxglove.RawImage``.

    Attributes:
        name: The schema's name.
        descriptors: Bytes of a FileDescriptorSet, as MCAP wants them.
    """

    def __init__(self, record: type[T], package: str = "st4vla") -> None:
        self.record, self.name = record, f"{package}.{record.__name__}"
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}/{record.__name__}.proto", package=package)
        file.syntax = "proto3"
        file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
        for each in dict.fromkeys(_messages(record)):
            _describe(file.message_type.add(name=each.__name__), each, package)
        both = descriptor_pb2.FileDescriptorSet()
        timestamp_pb2.DESCRIPTOR.CopyToProto(both.file.add())
        both.file.append(file)
        self.descriptors: bytes = both.SerializeToString()
        pool = descriptor_pool.DescriptorPool()
        for each_file in both.file:
            pool.Add(each_file)
        self._class: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName(self.name))

    def encode(self, record: T) -> bytes:
        """Return a record's bytes."""
        message, long = self._class(), list[bytes]()
        kind: Any = self.record
        for number, field in enumerate(_fields(kind), 1):
            value = getattr(record, field.name)
            if field.kind == "bytes" and not field.repeated and len(value) > LONG_BYTES:
                # Fields may come in any order, and protobuf takes twenty times as long to copy a picture.
                long += (_varint(number << 3 | 2), _varint(len(value)), value)
            else:
                _set(message, field, value)
        return b"".join((message.SerializeToString(), *long))

    def decode(self, data: bytes) -> T:
        """Return the record that bytes hold.

        Raises:
            ValueError: They hold none.
        """
        message = self._class()
        try:
            message.ParseFromString(data)
        except Exception as error:
            msg = f"not a {self.name}: {error}"
            raise ValueError(msg) from error
        record: T = _read(message, self.record)
        return record


def _messages(record: type) -> Iterator[type]:
    """Yield a dataclass and those within it."""
    yield record
    for field in _fields(record):
        if field.message is not None and field.message is not Timestamp:
            yield from _messages(field.message)


def _describe(target: Any, record: type, package: str) -> None:
    for number, field in enumerate(_fields(record), 1):
        added = target.field.add(name=field.name, number=number)
        added.label = _FIELD.LABEL_REPEATED if field.repeated else _FIELD.LABEL_OPTIONAL
        if field.message is None:
            added.type = getattr(_FIELD, f"TYPE_{field.kind.upper()}")
        else:
            added.type = _FIELD.TYPE_MESSAGE
            name = _TIMESTAMP if field.message is Timestamp else f"{package}.{field.message.__name__}"
            added.type_name = f".{name}"


@lru_cache(maxsize=64)
def _fields(record: Any) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(record, include_extras=True)
    return tuple(_field(entry.name, hints[entry.name]) for entry in fields(record))


def _field(name: str, hint: Any) -> _Field:
    if typing.get_origin(hint) is tuple:
        inner = _field(name, typing.get_args(hint)[0])
        return _Field(name, inner.kind, inner.message, repeated=True)
    if typing.get_origin(hint) is Annotated:
        kind = typing.get_args(hint)[1]
        return _Field(name, kind, repeated=kind in _DTYPES)
    choices = [choice for choice in typing.get_args(hint) if choice is not NoneType]
    if choices:
        inner = _field(name, choices[0])
        return _Field(name, inner.kind, inner.message, optional=True)
    if is_dataclass(hint):
        return _Field(name, "message", cast("type", hint))
    return _Field(name, _SCALARS[hint])


def _fill(message: Any, record: Any) -> None:
    if isinstance(record, Timestamp):
        message.seconds, message.nanos = divmod(record.ns, 1_000_000_000)
        return
    kind: Any = type(record)
    for field in _fields(kind):
        _set(message, field, getattr(record, field.name))


def _set(message: Any, field: _Field, value: Any) -> None:
    if value is None:
        return
    if field.repeated:
        target = getattr(message, field.name)
        if field.message is not None:
            for entry in value:
                _fill(target.add(), entry)
        else:
            target.extend(value.tolist() if field.kind in _DTYPES else value)
    elif field.message is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        _fill(inner, value)
    else:
        setattr(message, field.name, _wrapped(value) if field.kind == "int64" else value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _read(message: Any, record: type) -> Any:
    if record is Timestamp:
        return Timestamp(message.seconds * 1_000_000_000 + message.nanos)
    return record(**{field.name: _value(message, field) for field in _fields(record)})


def _value(message: Any, field: _Field) -> Any:
    value, inner = getattr(message, field.name), field.message
    if field.kind in _DTYPES and field.repeated:
        return np.array(value, _DTYPES[field.kind])
    if inner is None:
        return tuple(value) if field.repeated else value
    if field.repeated:
        return tuple(_read(entry, inner) for entry in value)
    if field.optional and not message.HasField(field.name):
        return None
    return _read(value, inner)
