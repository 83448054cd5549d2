"""Write MCAP files of the ros2 profile chunk by chunk, so that what is flushed is safe."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from dream_vla_ros.data.mcap_format import (
    CHUNK_HEAD,
    FOOTER,
    MAGIC,
    MESSAGE_HEAD,
    RECORD_HEAD,
    Channel,
    Op,
    Schema,
    channel_record,
    metadata_record,
    record,
    schema_record,
    string,
)
from dream_vla_ros.data.storage import StoredTopic

# How often topics and types are written again: damage to one copy then costs nothing.
_REPEAT_EVERY_CHUNKS = 32


class McapWriter:
    """One MCAP file. Not thread-safe: :class:`~dream_vla_ros.data.bag_writer.BagWriter` sees to that.

    :param path: File to create; must not exist.
    :param library: Written into the file's header.
    """

    def __init__(self, path: Path, library: str) -> None:
        self.path = path
        self._file = path.open("xb", buffering=0)
        self._at = 0
        self._schemas: dict[str, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._indexes: list[bytes] = []
        self._metadata_index: list[bytes] = []
        self._counts: dict[int, int] = {}
        self._range = (2**63, 0)
        self._new = False
        self._put(MAGIC + record(Op.HEADER, string("ros2"), string(library)))

    def add_topic(self, key: int, topic: StoredTopic) -> None:
        """Register a topic under a number; it reaches the file with the next chunk."""
        if topic.type not in self._schemas:
            number = len(self._schemas) + 1
            self._schemas[topic.type] = Schema(number, topic.type, topic.definition_format, topic.definition)
        metadata = {"offered_qos_profiles": topic.qos, "topic_type_hash": topic.type_hash}
        schema = self._schemas[topic.type]
        self._channels[key] = Channel(key, schema.id, topic.name, topic.serialization, metadata)
        self._new = True

    def write(self, messages: list[tuple[int, int, bytes]]) -> None:
        """Write messages as one chunk with its index.

        :param messages: Topic number, time of arrival [ns] and bytes of each.
        """
        if not messages:
            return
        parts: list[bytes] = []
        size = 0
        if self._new or len(self._indexes) % _REPEAT_EVERY_CHUNKS == 0:
            parts = self._descriptions()
            size = sum(map(len, parts))
            self._new = False
        entries: dict[int, list[bytes]] = {}
        for key, log_ns, data in messages:
            sequence = self._counts.get(key, 0)
            self._counts[key] = sequence + 1
            entries.setdefault(key, []).append(struct.pack("<QQ", log_ns, size))
            head = RECORD_HEAD.pack(Op.MESSAGE, MESSAGE_HEAD.size + len(data))
            head += MESSAGE_HEAD.pack(key, sequence & 0xFFFFFFFF, log_ns, log_ns)
            parts += (head, data)
            size += len(head) + len(data)
        times = [log_ns for _, log_ns, _ in messages]
        start, end = min(times), max(times)
        self._range = (min(self._range[0], start), max(self._range[1], end))
        records = b"".join(parts)
        head = CHUNK_HEAD.pack(start, end, size, zlib.crc32(records)) + string("") + struct.pack("<Q", size)
        chunk_at = self._at
        chunk = record(Op.CHUNK, head, records)
        indexes, index_at = [], chunk_at + len(chunk)
        offsets = b""
        for key, pairs in entries.items():
            packed = b"".join(pairs)
            index = record(Op.MESSAGE_INDEX, struct.pack("<HI", key, len(packed)), packed)
            offsets += struct.pack("<HQ", key, index_at)
            index_at += len(index)
            indexes.append(index)
        self._indexes.append(
            record(
                Op.CHUNK_INDEX,
                struct.pack("<QQQQI", start, end, chunk_at, len(chunk), len(offsets)),
                offsets,
                struct.pack("<Q", sum(map(len, indexes))),
                string(""),
                struct.pack("<QQ", size, size),
            )
        )
        self._put(b"".join((chunk, *indexes)))

    def write_metadata(self, name: str, values: Mapping[str, str]) -> None:
        """Write a metadata record; a later one of the same name counts."""
        data = metadata_record(name, values)
        place = struct.pack("<QQ", self._at, len(data))
        self._metadata_index.append(record(Op.METADATA_INDEX, place, string(name)))
        self._put(data)

    def sync(self) -> None:
        """Wait until everything written is on the disk."""
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Write index and footer, and close the file."""
        self._put(record(Op.DATA_END, struct.pack("<I", 0)))
        start = self._at
        groups = [
            (Op.SCHEMA, [schema_record(schema) for schema in self._schemas.values()]),
            (Op.CHANNEL, [channel_record(channel) for channel in self._channels.values()]),
            (Op.CHUNK_INDEX, self._indexes),
            (Op.METADATA_INDEX, self._metadata_index),
            (Op.STATISTICS, [self._statistics()]),
        ]
        summary, offsets = b"", b""
        for op, records in groups:
            if records:
                group = b"".join(records)
                offsets += record(
                    Op.SUMMARY_OFFSET, struct.pack("<BQQ", op, start + len(summary), len(group))
                )
                summary += group
        footer = RECORD_HEAD.pack(Op.FOOTER, FOOTER.size) + struct.pack("<QQ", start, start + len(summary))
        covered = summary + offsets + footer
        self._put(covered + struct.pack("<I", zlib.crc32(covered)) + MAGIC)
        self.sync()
        self._file.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _descriptions(self) -> list[bytes]:
        schemas = [schema_record(schema) for schema in self._schemas.values()]
        return schemas + [channel_record(channel) for channel in self._channels.values()]

    def _statistics(self) -> bytes:
        counts = b"".join(struct.pack("<HQ", key, self._counts.get(key, 0)) for key in self._channels)
        total = sum(self._counts.values())
        start, end = self._range if total else (0, 0)
        fields = (
            total,
            len(self._schemas),
            len(self._channels),
            0,
            len(self._metadata_index),
            len(self._indexes),
        )
        return record(
            Op.STATISTICS,
            struct.pack("<QHIIII", *fields),
            struct.pack("<QQI", start, end, len(counts)),
            counts,
        )

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._at += len(data)
