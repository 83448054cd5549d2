"""The MCAP container: how its records are laid out (https://mcap.dev/spec)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import lz4.frame
import zstandard

from dream_vla_ros.data.errors import BagError

MAGIC = b"\x89MCAP0\r\n"
RECORD_HEAD = struct.Struct("<BQ")
MESSAGE_HEAD = struct.Struct("<HIQQ")
CHUNK_HEAD = struct.Struct("<QQQI")
FOOTER = struct.Struct("<QQI")
# A footer record with its head, followed by the closing magic.
FOOTER_SIZE = RECORD_HEAD.size + FOOTER.size + len(MAGIC)


class Op(IntEnum):
    """Kinds of record."""

    HEADER = 0x01
    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    ATTACHMENT = 0x09
    ATTACHMENT_INDEX = 0x0A
    STATISTICS = 0x0B
    METADATA = 0x0C
    METADATA_INDEX = 0x0D
    SUMMARY_OFFSET = 0x0E
    DATA_END = 0x0F


@dataclass(frozen=True)
class Schema:
    """A message type: ``encoding`` is ``ros2msg`` or ``ros2idl``, ``data`` the definition's text."""

    id: int
    name: str
    encoding: str
    data: str


@dataclass(frozen=True)
class Channel:
    """A topic of one type."""

    id: int
    schema_id: int
    topic: str
    encoding: str
    metadata: Mapping[str, str]


def record(op: Op, *parts: bytes) -> bytes:
    """Encode one record from the parts of its content."""
    return b"".join((RECORD_HEAD.pack(op, sum(map(len, parts))), *parts))


def string(text: str) -> bytes:
    """Encode a string with its length."""
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def string_map(values: Mapping[str, str]) -> bytes:
    """Encode a map of strings with its length in bytes."""
    data = b"".join(string(key) + string(value) for key, value in values.items())
    return struct.pack("<I", len(data)) + data


def schema_record(schema: Schema) -> bytes:
    """Encode a schema."""
    head = struct.pack("<H", schema.id)
    return record(Op.SCHEMA, head, string(schema.name), string(schema.encoding), string(schema.data))


def channel_record(channel: Channel) -> bytes:
    """Encode a channel."""
    head = struct.pack("<HH", channel.id, channel.schema_id)
    metadata = string_map(channel.metadata)
    return record(Op.CHANNEL, head, string(channel.topic), string(channel.encoding), metadata)


def metadata_record(name: str, values: Mapping[str, str]) -> bytes:
    """Encode a metadata record."""
    return record(Op.METADATA, string(name), string_map(values))


class Cursor:
    """Reads fields one after the other; every read past the end raises :class:`BagError`."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = memoryview(data)
        self.at = 0

    def take(self, size: int) -> memoryview:
        """Read raw bytes."""
        if size < 0 or self.at + size > len(self.data):
            raise BagError(f"a field of {size} bytes runs over the end of its record")
        part = self.data[self.at : self.at + size]
        self.at += size
        return part

    def number(self, layout: str) -> int:
        """Read one number of a ``struct`` layout."""
        value: int = struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0]
        return value

    def string(self) -> str:
        """Read a string."""
        try:
            return bytes(self.take(self.number("I"))).decode()
        except UnicodeDecodeError as error:
            raise BagError("a name is not UTF-8") from error

    def string_map(self) -> dict[str, str]:
        """Read a map of strings."""
        inner = Cursor(self.take(self.number("I")))
        values = {}
        while inner.at < len(inner.data):
            key = inner.string()
            values[key] = inner.string()
        return values


def parse_schema(content: bytes | memoryview) -> Schema:
    """Decode a schema record."""
    cursor = Cursor(content)
    return Schema(cursor.number("H"), cursor.string(), cursor.string(), cursor.string())


def parse_channel(content: bytes | memoryview) -> Channel:
    """Decode a channel record."""
    cursor = Cursor(content)
    return Channel(
        cursor.number("H"), cursor.number("H"), cursor.string(), cursor.string(), cursor.string_map()
    )


def parse_metadata(content: bytes | memoryview) -> tuple[str, dict[str, str]]:
    """Decode a metadata record into its name and values."""
    cursor = Cursor(content)
    return cursor.string(), cursor.string_map()


@dataclass(frozen=True)
class ChunkHead:
    """What stands before the compressed records of a chunk.

    :param data_at: Where the records begin, counted from the start of the chunk's content.
    """

    start_ns: int
    end_ns: int
    uncompressed_size: int
    crc: int
    compression: str
    data_at: int
    data_size: int


def parse_chunk_head(content: bytes | memoryview) -> ChunkHead:
    """Decode the head of a chunk record.

    :raises BagError: If it runs over the content, or the compression is none of MCAP's.
    """
    cursor = Cursor(content)
    start_ns, end_ns, size, crc = CHUNK_HEAD.unpack(cursor.take(CHUNK_HEAD.size))
    compression = cursor.string()
    if compression not in _DECOMPRESS:
        raise BagError(f"unknown chunk compression '{compression}'")
    data_size = cursor.number("Q")
    return ChunkHead(start_ns, end_ns, size, crc, compression, cursor.at, data_size)


def decompress(head: ChunkHead, data: bytes | memoryview) -> bytes | memoryview:
    """Return the records of a chunk.

    :raises BagError: If they do not decompress, or their size or checksum is wrong.
    """
    try:
        records = _DECOMPRESS[head.compression](data, head.uncompressed_size)
    except (zstandard.ZstdError, RuntimeError, MemoryError, ValueError) as error:
        raise BagError(f"chunk does not decompress: {error}") from error
    if len(records) != head.uncompressed_size:
        raise BagError(f"chunk has {len(records)} bytes, not {head.uncompressed_size}")
    if head.crc and zlib.crc32(records) != head.crc:
        raise BagError("checksum of a chunk is wrong")
    return records


def decompress_prefix(head: ChunkHead, data: bytes | memoryview) -> bytes | memoryview:
    """Return as much of a cut-off chunk's records as can be had; nothing of it is verified."""
    if head.compression == "":
        return data
    out = bytearray()
    try:
        if head.compression == "zstd":
            stream = zstandard.ZstdDecompressor().decompressobj()
            for at in range(0, len(data), 1 << 12):
                out += stream.decompress(bytes(data[at : at + (1 << 12)]))
        else:
            lz4_stream = lz4.frame.LZ4FrameDecompressor()
            for at in range(0, len(data), 1 << 12):
                out += lz4_stream.decompress(bytes(data[at : at + (1 << 12)]))
    except (zstandard.ZstdError, RuntimeError, EOFError):
        pass  # what came out before the damage is what there is
    return bytes(out)


def _zstd(data: bytes | memoryview, size: int) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)


def _lz4(data: bytes | memoryview, size: int) -> bytes:
    return bytes(lz4.frame.decompress(data))


_DECOMPRESS: dict[str, Callable[[bytes | memoryview, int], bytes | memoryview]] = {
    "": lambda data, size: data,
    "zstd": _zstd,
    "lz4": _lz4,
}
