"""Read MCAP files whole or damaged: what checks out is yielded, what does not is reported."""

from __future__ import annotations

import mmap
import re
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from dream_vla_ros.data.errors import BagError, DamageLog
from dream_vla_ros.data.mcap_format import (
    FOOTER,
    FOOTER_SIZE,
    MAGIC,
    MESSAGE_HEAD,
    RECORD_HEAD,
    Channel,
    ChunkHead,
    Cursor,
    Op,
    Schema,
    decompress,
    decompress_prefix,
    parse_channel,
    parse_chunk_head,
    parse_metadata,
    parse_schema,
)
from dream_vla_ros.data.storage import HEAD_BYTES, Locator, Scanned, StoredTopic

_KNOWN = {int(op) for op in Op}
# A chunk record below 2^40 bytes, up to its compression string: where reading can start again after damage.
_CHUNK_START = re.compile(rb"\x06.{5}\x00\x00\x00.{28}(?:\x00{4}|\x04\x00{3}zstd|\x03\x00{3}lz4)", re.DOTALL)
# A message record below 16 MiB: where a file without chunks can be entered again.
_MESSAGE_START = re.compile(rb"\x05.{3}\x00{5}", re.DOTALL)
_FILE_BLOCK = -1  # the block number of messages that stand in no chunk
_END_OF_TIME = 1 << 63  # times are kept as signed numbers of 64 bits
_OPEN_BLOCKS = 4  # decompressed chunks kept: a few cameras may be read at once
_CHAIN = 3  # records in a row that must make sense before a place counts as a record's start


class McapFile:
    """One MCAP file; see :class:`~dream_vla_ros.data.storage.Storage`.

    :raises BagError: If the file is empty or nothing of it looks like MCAP.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = DamageLog()
        self.topics: dict[int, StoredTopic] = {}
        self.expected: dict[str, int] = {}
        self.metadata_text = ""
        self.finished = False
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._unproven: tuple[dict[int, Schema], dict[int, Channel]] = ({}, {})
        self._counts: dict[int, int] = {}
        self._chunks: list[tuple[int, ChunkHead, bool]] = []
        self._open: OrderedDict[int, bytes | memoryview] = OrderedDict()
        self._lock = threading.Lock()
        self._file = path.open("rb")
        try:
            self._data = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            self._file.close()
            raise BagError(f"{path}: the file is empty") from error
        if self._data[: len(MAGIC)] != MAGIC:
            if self._data[-len(MAGIC) :] != MAGIC and self._resync(0) < 0:
                self.close()
                raise BagError(f"{path}: not an MCAP file")
            self._note(0, "the magic bytes at the start are wrong")

    def close(self) -> None:
        """Let go of the file."""
        self._open.clear()
        # The map itself goes with its last view: closing it here would fail while a scan is suspended.
        self._file.close()

    def scan(self) -> Iterator[Scanned]:
        """Go through all readable messages, in file order."""
        try:
            self._read_summary()
        except (BagError, struct.error) as error:
            self._note(-1, f"the summary is unreadable: {error}")
        yield from self._walk(len(MAGIC))
        if not self.finished and not self.damage:
            self._note(len(self._data), "the file was not closed: it has no index")
        self._settle()

    def _walk(self, at: int) -> Iterator[Scanned]:
        while at < len(self._data):
            before = sum(self._counts.values())
            try:
                op, end = self._record_at(at)
                if op == Op.CHUNK:
                    yield from self._chunk(at, end)
                elif op == Op.MESSAGE:
                    yield from self._message(self._content(at, end), _FILE_BLOCK, at + RECORD_HEAD.size)
                elif op == Op.DATA_END:
                    self.finished = self._has_footer()
                    return
                else:
                    self._describe(op, self._content(at, end), proven=False, at=at)
            except BagError as error:
                if (end := self._healed_chunk_end(at)) > 0:
                    self._note(at, f"{error}; the chunk's own sizes and checksum are right, so it is kept")
                    yield from self._chunk(at, end)
                else:
                    kept = sum(self._counts.values()) - before
                    end = self._after_damage(at, str(error), kept)
                    if end < 0:
                        yield from self._cut_off_chunk(at, str(error))
                        return
            at = end

    def read(self, locator: Locator) -> bytes:
        """Fetch the bytes of one message that ``scan`` has met."""
        with self._lock:
            if locator.block not in self._open:
                self._open[locator.block] = self._block(locator.block)
                if len(self._open) > _OPEN_BLOCKS:
                    self._open.popitem(last=False)
            records = self._open[locator.block]
        return bytes(records[locator.offset : locator.offset + locator.size])

    def _block(self, block: int) -> bytes | memoryview:
        if block == _FILE_BLOCK:
            return memoryview(self._data)
        at, head, whole = self._chunks[block]
        data = memoryview(self._data)[at : at + head.data_size]
        if head.compression == "":
            return data
        return decompress(head, data) if whole else decompress_prefix(head, data)

    def _record_at(self, at: int) -> tuple[Op, int]:
        if at + RECORD_HEAD.size > len(self._data):
            raise BagError("the file ends within a record")
        op, length = RECORD_HEAD.unpack_from(self._data, at)
        if op not in _KNOWN:
            raise BagError(f"no kind of record has the number {op}")
        end = at + RECORD_HEAD.size + length
        if end > len(self._data):
            raise BagError(f"a {Op(op).name.lower()} record runs over the end of the file")
        return Op(op), end

    def _content(self, at: int, end: int) -> memoryview:
        return memoryview(self._data)[at + RECORD_HEAD.size : end]

    def _chunk(self, at: int, end: int) -> Iterator[Scanned]:
        content = self._content(at, end)
        head = parse_chunk_head(content)
        if head.data_at + head.data_size != len(content):
            raise BagError("the sizes in the head of a chunk disagree")
        records = decompress(head, content[head.data_at :])
        self._chunks.append((at + RECORD_HEAD.size + head.data_at, head, True))
        yield from self._records(records, len(self._chunks) - 1, proven=head.crc != 0, at=at)

    def _records(self, records: bytes | memoryview, block: int, proven: bool, at: int) -> Iterator[Scanned]:
        view = memoryview(records)
        offset = 0
        while offset + RECORD_HEAD.size <= len(view):
            op, length = RECORD_HEAD.unpack_from(view, offset)
            start = offset + RECORD_HEAD.size
            offset = start + length
            if offset > len(view):
                raise BagError("a record runs over the end of its chunk")
            if op == Op.MESSAGE:
                yield from self._message(view[start:offset], block, start)
            elif op in _KNOWN:
                self._describe(Op(op), view[start:offset], proven, at)

    def _message(self, content: memoryview, block: int, start: int) -> Iterator[Scanned]:
        if len(content) < MESSAGE_HEAD.size:
            raise BagError("a message record is too short")
        channel, _, log_ns, _ = MESSAGE_HEAD.unpack_from(content)
        if log_ns >= _END_OF_TIME:
            raise BagError("the time of a message is impossible")
        self._counts[channel] = self._counts.get(channel, 0) + 1
        head = bytes(content[MESSAGE_HEAD.size : MESSAGE_HEAD.size + HEAD_BYTES])
        size = len(content) - MESSAGE_HEAD.size
        yield Scanned(channel, log_ns, head, Locator(block, start + MESSAGE_HEAD.size, size))

    def _describe(self, op: Op, content: memoryview, proven: bool, at: int) -> None:
        schemas, channels = (self._schemas, self._channels) if proven else self._unproven
        try:
            if op == Op.SCHEMA:
                schema = parse_schema(content)
                schemas[schema.id] = schema
            elif op == Op.CHANNEL:
                channel = parse_channel(content)
                channels[channel.id] = channel
            elif op == Op.METADATA:
                name, values = parse_metadata(content)
                if name == "rosbag2" and values.get("serialized_metadata"):
                    self.metadata_text = values["serialized_metadata"]
        except BagError as error:
            self._note(at, f"unreadable {op.name.lower()} record: {error}")

    def _has_footer(self) -> bool:
        tail = self._data[-FOOTER_SIZE:]
        closed = len(self._data) > FOOTER_SIZE and tail.endswith(MAGIC)
        return closed and tail[0] == Op.FOOTER

    def _read_summary(self) -> None:
        if not self._has_footer():
            return
        footer_at = len(self._data) - FOOTER_SIZE
        start, _, crc = FOOTER.unpack_from(self._data, footer_at + RECORD_HEAD.size)
        if not len(MAGIC) < start < footer_at:
            return
        # The checksum covers the summary and the footer up to the checksum itself.
        covered = memoryview(self._data)[start : footer_at + RECORD_HEAD.size + FOOTER.size - 4]
        if crc and zlib.crc32(covered) != crc:
            self._note(start, "checksum of the summary is wrong")
            return
        at = start
        while at < footer_at:
            op, end = self._record_at(at)
            if op in (Op.SCHEMA, Op.CHANNEL):
                self._describe(op, self._content(at, end), crc != 0, at)
            elif op == Op.STATISTICS:
                self._statistics = _channel_counts(self._content(at, end))
            at = end

    _statistics: dict[int, int] | None = None

    def _settle(self) -> None:
        unproven_schemas, unproven_channels = self._unproven
        schemas = unproven_schemas | self._schemas
        channels = unproven_channels | self._channels
        for key, channel in channels.items():
            schema = schemas.get(channel.schema_id, Schema(0, "", "", ""))
            self.topics[key] = StoredTopic(
                channel.topic,
                schema.name,
                channel.encoding,
                schema.data,
                schema.encoding or "ros2msg",
                channel.metadata.get("topic_type_hash", ""),
                channel.metadata.get("offered_qos_profiles", ""),
            )
        for key, count in self._counts.items():
            if key not in channels:
                self._note(-1, f"no record tells which topic channel {key} is", messages_lost=count)
        for key, count in (self._statistics or {}).items():
            if key in channels:
                topic = channels[key].topic
                self.expected[topic] = self.expected.get(topic, 0) + count

    def _healed_chunk_end(self, at: int) -> int:
        """Where a chunk ends whose record length is wrong but whose content is right; -1 if there is none."""
        if at + RECORD_HEAD.size > len(self._data) or self._data[at] != Op.CHUNK:
            return -1
        content = self._content(at, len(self._data))
        try:
            head = parse_chunk_head(content)
            if not head.crc or head.data_at + head.data_size > len(content):
                return -1
            decompress(head, content[head.data_at : head.data_at + head.data_size])
        except BagError:
            return -1
        return at + RECORD_HEAD.size + head.data_at + head.data_size

    def _after_damage(self, at: int, problem: str, kept: int) -> int:
        """Note what was lost at a damaged place and say where to go on; -1 where nothing follows.

        :param kept: Messages read there before the damage: from a chunk without a checksum.
        """
        try:
            op, end = self._record_at(at)
        except BagError:
            op, end = Op.HEADER, -1
        if end > 0 and op == Op.CHUNK and self._plausible(end, 2):
            indexed = self._indexed_messages(end)
            lost = max(0, indexed - kept) if indexed >= 0 else -1
            self._note(at, problem, messages_lost=lost)
            return end
        restart = self._resync(at + 1)
        if restart >= 0:
            self._note(at, f"{problem}; {restart - at} bytes skipped", messages_lost=-1)
        return restart

    def _cut_off_chunk(self, at: int, problem: str) -> Iterator[Scanned]:
        """Read what a file's last, cut-off chunk still has."""
        if len(self._data) - at < RECORD_HEAD.size:
            self._note(at, "the file was cut off between two records: it has no index")
            return
        content = self._content(at, len(self._data))
        try:
            head = parse_chunk_head(content)
            cut_off = self._data[at] == Op.CHUNK and head.data_at + head.data_size > len(content)
        except BagError:
            cut_off = False
        if not cut_off:
            self._note(at, f"{problem}; {len(content)} bytes skipped", messages_lost=-1)
            return
        records = decompress_prefix(head, content[head.data_at :])
        self._chunks.append((at + RECORD_HEAD.size + head.data_at, head, False))
        found = 0
        try:
            for scanned in self._records(records, len(self._chunks) - 1, proven=False, at=at):
                found += 1
                yield scanned
        except BagError:
            pass  # the record that the cut goes through
        share = len(records) / max(1, head.uncompressed_size)
        self._note(
            at,
            f"the file was cut off within a chunk; {found} messages of its first {share:.0%} are kept, "
            "without a checksum to prove them",
            messages_lost=-1,
        )

    def _plausible(self, at: int, chain: int) -> bool:
        for _ in range(chain):
            if at == len(self._data):
                return True
            try:
                op, at = self._record_at(at)
            except BagError:
                return False
            if op == Op.FOOTER:
                return self._data[at : at + len(MAGIC)] == MAGIC
        return True

    def _resync(self, at: int) -> int:
        """Find the next place that can be read from; -1 if there is none."""
        for match in _CHUNK_START.finditer(self._data, at):
            try:
                _, end = self._record_at(match.start())
                content = self._content(match.start(), end)
                head = parse_chunk_head(content)
            except BagError:
                continue
            if head.data_at + head.data_size == len(content):
                return match.start()
        # Only a file without chunks is entered at a message: within a damaged chunk none can be trusted.
        if not self._chunks and not _CHUNK_START.search(self._data):
            for match in _MESSAGE_START.finditer(self._data, at):
                if self._plausible(match.start(), _CHAIN):
                    return match.start()
        return -1

    def _indexed_messages(self, at: int) -> int:
        """Count the messages of a chunk by the index records that follow it."""
        count = 0
        while self._plausible(at, 1) and at < len(self._data):
            op, end = self._record_at(at)
            if op != Op.MESSAGE_INDEX:
                break
            count += (end - at - RECORD_HEAD.size - 6) // 16
            at = end
        return count or -1

    def _note(self, at: int, problem: str, messages_lost: int = 0) -> None:
        self.damage.add(self.path.name, at, problem, messages_lost)


def _channel_counts(content: memoryview) -> dict[int, int]:
    cursor = Cursor(content)
    cursor.take(8 + 2 + 4 + 4 + 4 + 4 + 8 + 8)
    return dict(struct.iter_unpack("<HQ", cursor.take(cursor.number("I"))))
