"""Read the rows of a rosbag2 SQLite file straight from its pages (https://www.sqlite.org/fileformat2.html).

For files that SQLite refuses: cut off, or with damaged inner pages. Only the leaves of the tables are needed;
each row is decoded by itself and left out if it does not have the shape of a message or a topic.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dream_vla_ros.data.storage import StoredTopic

_HEADER = b"SQLite format 3\0"
_HEADER_BYTES = 100
_LEAF_TABLE = 0x0D
_INTEGER_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_DEFAULT_PAGE = 4096
# The year 2100: what tells the time of a message from other numbers.
_LATEST_NS = 4_102_444_800 * 10**9


@dataclass(frozen=True)
class SalvagedRow:
    """One message."""

    id: int
    topic: int
    log_ns: int
    data: bytes


@dataclass
class Salvage:
    """What could be read."""

    topics: dict[int, StoredTopic] = field(default_factory=dict)
    messages: list[SalvagedRow] = field(default_factory=list)


def salvage(path: Path) -> Salvage:
    """Go through all pages of a file.

    :returns: Every message and topic that could be decoded whole.
    """
    data = path.read_bytes()
    headed = data.startswith(_HEADER) and len(data) >= _HEADER_BYTES
    size = struct.unpack_from(">H", data, 16)[0] if headed else _DEFAULT_PAGE
    size = 65536 if size == 1 else size
    if size < 512 or size & (size - 1):
        size = _DEFAULT_PAGE
    usable = size - (data[20] if headed else 0)
    pages = _Pages(data, size, usable)
    found = Salvage()
    definitions: dict[str, tuple[str, str]] = {}
    seen: set[int] = set()
    for number in range(1, len(data) // size + 1):
        for row, values in pages.rows(number):
            match values:
                case [None, int(topic), int(log_ns), bytes(blob)] if 0 <= log_ns < _LATEST_NS:
                    if row not in seen:
                        seen.add(row)
                        found.messages.append(SalvagedRow(row, topic, log_ns, blob))
                case [None, str(name), str(kind), str(form), *rest] if "/msg/" in kind and name.startswith(
                    "/"
                ):
                    texts = [value for value in rest if isinstance(value, str)]
                    qos, type_hash = [*texts, "", ""][:2]
                    found.topics[row] = StoredTopic(name, kind, form, "", "ros2msg", type_hash, qos)
                case [None, str(kind), ("ros2msg" | "ros2idl") as encoding, str(text), *_]:
                    definitions[kind] = (text, encoding)
    for key, bare in found.topics.items():
        text, encoding = definitions.get(bare.type, ("", "ros2msg"))
        found.topics[key] = replace(bare, definition=text, definition_format=encoding)
    return found


class _Pages:
    def __init__(self, data: bytes, size: int, usable: int) -> None:
        self.data = data
        self.size = size
        self.usable = usable

    def rows(self, number: int) -> Iterator[tuple[int, list[Any]]]:
        """Decode the rows of a page if it is a leaf of a table."""
        page = self.data[(number - 1) * self.size : number * self.size]
        head = _HEADER_BYTES if number == 1 else 0
        if page[head] != _LEAF_TABLE:
            return
        count = struct.unpack_from(">H", page, head + 3)[0]
        for index in range(count):
            at = head + 8 + 2 * index
            if at + 2 > len(page):
                return
            try:
                row = self._cell(page, struct.unpack_from(">H", page, at)[0])
            except (IndexError, ValueError, struct.error, UnicodeDecodeError):
                continue
            yield row

    def _cell(self, page: bytes, at: int) -> tuple[int, list[Any]]:
        length, at = _varint(page, at)
        row, at = _varint(page, at)
        inside = self._inside(length)
        payload = page[at : at + inside]
        if len(payload) != inside:
            raise ValueError("cell runs over its page")
        if inside < length:
            following = struct.unpack_from(">I", page, at + inside)[0]
            payload = self._follow(payload, following, length)
        return row, _record(payload)

    def _inside(self, length: int) -> int:
        """How many bytes of a payload stand on the leaf page itself."""
        most = self.usable - 35
        if length <= most:
            return length
        least = (self.usable - 12) * 32 // 255 - 23
        kept = least + (length - least) % (self.usable - 4)
        return kept if kept <= most else least

    def _follow(self, payload: bytes, number: int, length: int) -> bytes:
        parts, have = [payload], len(payload)
        while have < length:
            start = (number - 1) * self.size
            if number < 1 or start + self.size > len(self.data):
                raise ValueError("overflow page is missing")
            part = self.data[start + 4 : start + 4 + min(self.usable - 4, length - have)]
            number = struct.unpack_from(">I", self.data, start)[0]
            parts.append(part)
            have += len(part)
        return b"".join(parts)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(9):
        byte = data[at + index]
        if index == 8:
            return (value << 8) | byte, at + 9
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("number is too long")


def _record(payload: bytes) -> list[Any]:
    header_size, at = _varint(payload, 0)
    kinds = []
    while at < header_size:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        value, at = _value(payload, kind, at)
        values.append(value)
    if at != len(payload):
        raise ValueError("record has another length than its header says")
    return values


def _value(payload: bytes, kind: int, at: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    if kind in _INTEGER_SIZES:
        end = at + _INTEGER_SIZES[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError("reserved kind of value")
    end = at + (kind - 12) // 2
    if end > len(payload):
        raise ValueError("value runs over its record")
    raw = payload[at:end]
    return (raw if kind % 2 == 0 else raw.decode()), end
