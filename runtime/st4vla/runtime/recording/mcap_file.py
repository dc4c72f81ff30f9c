"""A recording's MCAP file, written from one thread."""

from __future__ import annotations

from typing import IO, Any, TypeVar, cast

from mcap.writer import CompressionType, Writer

from st4vla.runtime.recording.header import END_NAME, HEADER_NAME, RecordingEnd, RecordingHeader, to_metadata
from st4vla.runtime.recording.reserved_file import ReservedFile
from st4vla.runtime.recording.schemas import Schema

LIBRARY = "st4vla"
CHUNK_BYTES = 1 << 20
#: Of the space set aside: for what lies around messages, and for what the index says of one chunk.
AROUND_BYTES, INDEX_BYTES = 1 << 18, 1 << 10

T = TypeVar("T")


class McapFile:
    """Messages by topic, in chunks with an index.

    Args:
        file: Where to write.
        header: What the recording says of itself.
        compression: Of chunks.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(
        self, file: ReservedFile, header: RecordingHeader, compression: CompressionType = CompressionType.LZ4
    ) -> None:
        self._file = file
        self._offset_ns = header.clock_wall_ns - header.clock_monotonic_ns
        self._writer: Any = Writer(cast("IO[Any]", file), chunk_size=CHUNK_BYTES, compression=compression)
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._latest: dict[int, int] = {}
        self._largest = 0
        self._writer.start(library=LIBRARY)
        self._writer.add_metadata(HEADER_NAME, to_metadata(header))
        self._reserve()

    @property
    def full(self) -> OSError | None:
        """What the disk said when it was full; from then on there is room for `finish` and no more."""
        return self._file.full

    @property
    def size(self) -> int:
        """Bytes written so far, without the chunk in progress."""
        return self._file.tell()

    def wall_ns(self, time_ns: int) -> int:
        """Return nanoseconds since 1970 of a time on this machine's monotonic clock."""
        return time_ns + self._offset_ns

    def add(self, schema: Schema[T], topic: str, record: T, time_ns: int, sequence: int = 0) -> None:
        """Add a message.

        Args:
            schema: What it is.
            topic: Where; always of the same schema.
            record: The message.
            time_ns: Its time, on this machine's monotonic clock.
            sequence: Its number on its topic, modulo 2**32.

        Raises:
            OSError: It cannot be written.
        """
        data = schema.encode(record)
        if len(data) > self._largest:
            self._largest = len(data)
            self._reserve()
        channel = self._channel(topic, schema)
        # Times of calls were read before the scheduler put them in order; on a topic time must not go back.
        at_ns = self._latest[channel] = max(self.wall_ns(time_ns), self._latest.get(channel, 0))
        self._writer.add_message(channel, at_ns, data, at_ns, sequence % 2**32)

    def flush(self) -> None:
        """Write the chunk in progress.

        Raises:
            OSError: It cannot be written.
        """
        self._writer.flush()
        self._reserve()

    def finish(self, end: RecordingEnd) -> None:
        """Write what is left, the end and the index.

        Raises:
            OSError: They cannot be written.
        """
        self._writer.flush()
        self._writer.add_metadata(END_NAME, to_metadata(end))
        self._writer.finish()

    def _channel(self, topic: str, schema: Schema[Any]) -> int:
        channel = self._channels.get(topic)
        if channel is None:
            if schema.name not in self._schemas:
                self._schemas[schema.name] = self._writer.register_schema(schema.name, "protobuf", schema.descriptors)
            channel = self._channels[topic] = self._writer.register_channel(
                topic, "protobuf", self._schemas[schema.name]
            )
        return channel

    def _reserve(self) -> None:
        """Keep room for a chunk that is written, the one in progress, and the index."""
        chunks = self._file.tell() // CHUNK_BYTES + 1
        self._file.reserve(2 * (CHUNK_BYTES + self._largest) + AROUND_BYTES + INDEX_BYTES * chunks)
