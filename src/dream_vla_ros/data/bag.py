"""Open any rosbag2: MCAP or SQLite, split, compressed, without metadata, damaged."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from dream_vla_ros.data.bag_metadata import FILE_NAME, BagMetadata
from dream_vla_ros.data.errors import BagError, DamageLog
from dream_vla_ros.data.mcap_format import MAGIC
from dream_vla_ros.data.mcap_read import McapFile
from dream_vla_ros.data.messages import Decoder, UndecodableError, header_stamp
from dream_vla_ros.data.sqlite_read import SqliteFile
from dream_vla_ros.data.storage import HEAD_BYTES, Locator, Storage, StoredTopic

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_COPY_BYTES = 1 << 20
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TopicIndex:
    """Where and when the messages of one topic are, in the order of their arrival.

    :param log_ns: (messages,) when the recorder received each.
    :param stamp_ns: (messages,) capture stamps from the headers; -1 where there is none.
    :param places: (messages, 4) file, block, offset and size of each.
    """

    topic: StoredTopic
    log_ns: Int64
    stamp_ns: Int64
    places: Int64

    def __len__(self) -> int:
        return len(self.log_ns)


class Bag:
    """One recording, indexed on opening. Use as a context manager.

    :param path: Folder of a bag, or one storage file.
    :raises BagError: If nothing can be read; damage that leaves something to read is in ``damage``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damage = DamageLog()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._files: list[Storage] = []
        self.metadata: BagMetadata | None = None
        try:
            self._open()
            self._index()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all files."""
        for file in self._files:
            file.close()
        self._files = []
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    @property
    def name(self) -> str:
        """Name of the folder or file."""
        return self.path.name

    def index(self, topic: str) -> TopicIndex:
        """Return where the messages of a topic are.

        :raises BagError: Listing the bag's topics if there is none of that name.
        """
        if topic not in self.topics:
            raise BagError(f"{self.path}: no topic {topic}; the bag has\n{self.listing()}")
        return self.topics[topic]

    def listing(self) -> str:
        """List the bag's topics with type and number of messages, one a line."""
        lines = [f"  {name} ({index.topic.type}, {len(index)})" for name, index in self.topics.items()]
        return "\n".join(lines) or "  no topics at all"

    def read(self, topic: str, which: Sequence[int] | Int64 | None = None) -> Iterator[tuple[int, bytes]]:
        """Read serialised messages in the order they stand in the file, which is the fastest.

        :param which: Numbers of messages in the topic's index; all by default.
        :returns: Number and bytes of each.
        """
        index = self.index(topic)
        numbers = np.arange(len(index)) if which is None else np.asarray(which, dtype=np.int64)
        if len(numbers) > 1:
            numbers = np.unique(numbers)
        for row, data in self._read(index.places[numbers]):
            yield int(numbers[row]), data

    def read_all(self) -> Iterator[tuple[str, int, bytes]]:
        """Read the serialised messages of all topics in the order they stand in the files.

        :returns: Topic, number in the topic's index, and bytes of each.
        """
        owners = [(name, number) for name, index in self.topics.items() for number in range(len(index))]
        if not owners:
            return
        places = np.concatenate([index.places for index in self.topics.values()])
        for row, data in self._read(places):
            yield *owners[row], data

    def _read(self, places: Int64) -> Iterator[tuple[int, bytes]]:
        order = (
            np.lexsort((places[:, 2], places[:, 1], places[:, 0])) if len(places) > 1 else range(len(places))
        )
        for row in order:
            file, block, offset, size = places[row].tolist()
            yield int(row), _decompressed(self._files[file].read(Locator(block, offset, size)))

    def messages(self, topic: str, which: Sequence[int] | Int64 | None = None) -> Iterator[tuple[int, Any]]:
        """Read decoded messages; those that do not decode are left out and reported in ``damage``.

        :returns: Number and message of each.
        """
        kind = self.index(topic).topic.type
        undecodable, problem = 0, ""
        for number, data in self.read(topic, which):
            try:
                message = self.decoder.decode(data, kind)
            except UndecodableError as error:
                undecodable += 1
                problem = problem or str(error)
                continue
            yield number, message
        if undecodable:
            self.damage.add(self.name, -1, f"{topic}: {problem}", messages_lost=undecodable)

    def _open(self) -> None:
        if not self.path.exists():
            raise BagError(f"{self.path}: no such bag")
        if self.path.is_file():
            files = [self.path]
        else:
            if (self.path / FILE_NAME).exists():
                try:
                    self.metadata = BagMetadata.read(self.path)
                except BagError as error:
                    self.damage.add(FILE_NAME, -1, str(error))
            else:
                self.damage.add(FILE_NAME, -1, "missing: topics and counts are taken from the storage files")
            files = self._storage_files()
        problems = []
        for file in files:
            try:
                self._files.append(self._open_file(file))
            except (BagError, OSError) as error:  # noqa: PERF203 - one bad file must not cost the others
                problems.append(str(error))
                self.damage.add(file.name, -1, str(error), messages_lost=-1)
        if not self._files:
            raise BagError(
                "; ".join(problems) or f"{self.path}: holds no .mcap or .db3 file, so it is not a bag"
            )

    def _storage_files(self) -> list[Path]:
        there = [file for file in self.path.iterdir() if file.name.endswith(_SUFFIXES)]
        there.sort(key=lambda file: _natural(file.name))
        if self.metadata is None:
            return there
        listed = [self.path / name for name in self.metadata.files]
        for file in listed:
            if not file.exists():
                self.damage.add(file.name, -1, "listed in metadata.yaml but missing", messages_lost=-1)
        found = [file for file in listed if file.exists()]
        for file in there:
            if file not in found:
                self.damage.add(file.name, -1, "not listed in metadata.yaml; read all the same")
                found.append(file)
        return found

    def _open_file(self, path: Path) -> Storage:
        name = path.name
        if name.endswith(".zstd"):
            path = self._uncompressed(path)
            name = path.name
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
        if start == MAGIC or (name.endswith(".mcap") and not start.startswith(b"SQLite")):
            return McapFile(path)
        return SqliteFile(path)

    def _uncompressed(self, path: Path) -> Path:
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="dream_vla_bag_")
        target = Path(self._temporary.name) / path.name.removesuffix(".zstd")
        stream = zstandard.ZstdDecompressor().decompressobj()
        with path.open("rb") as source, target.open("wb") as out:
            try:
                while block := source.read(_COPY_BYTES):
                    out.write(stream.decompress(block))
            except zstandard.ZstdError as error:
                self.damage.add(
                    path.name, source.tell(), f"zstd: {error}; what follows is lost", messages_lost=-1
                )
            else:
                if not stream.eof:
                    self.damage.add(path.name, source.tell(), "zstd: the file was cut off", messages_lost=-1)
        return target

    def _index(self) -> None:
        rows: list[tuple[int, int, int, int, int, int]] = []
        heads: list[bytes] = []
        for number, file in enumerate(self._files):
            for scanned in file.scan():
                rows.append((number, scanned.topic, scanned.log_ns, *scanned.locator))
                heads.append(scanned.head)
            self.damage.entries += file.damage.entries
            if self.metadata is None and file.metadata_text:
                try:
                    self.metadata = BagMetadata.parse(file.metadata_text)
                except BagError as error:
                    self.damage.add(file.path.name, -1, f"its copy of metadata.yaml is unreadable: {error}")
        by_name: dict[str, StoredTopic] = {}
        for file in self._files:
            for topic in file.topics.values():
                if topic.name not in by_name or not by_name[topic.name].definition:
                    by_name[topic.name] = topic
        self.decoder = Decoder(by_name.values())
        for problem in self.decoder.problems:
            self.damage.add(self.name, -1, problem)
        names = [{key: topic.name for key, topic in file.topics.items()} for file in self._files]
        table = np.array(rows, dtype=np.int64).reshape(-1, 6)
        belongs = np.array(
            [names[file].get(topic, "") for file, topic in table[:, :2].tolist()], dtype=object
        )
        self.topics = {
            name: self._topic_index(topic, table, np.flatnonzero(belongs == name), heads)
            for name, topic in sorted(by_name.items())
        }
        self._compare_counts()

    def _topic_index(self, topic: StoredTopic, table: Int64, rows: Int64, heads: list[bytes]) -> TopicIndex:
        stamped = self.decoder.is_stamped(topic.type)
        stamps = np.full(len(rows), -1, dtype=np.int64)
        for at, row in enumerate(rows):
            head = heads[row]
            if head.startswith(_ZSTD_MAGIC):
                place = table[row]
                data = self._files[place[0]].read(Locator(*place[3:].tolist()))
                head = _decompressed_head(data)
            if stamped:
                stamps[at] = header_stamp(head)
        order = np.argsort(table[rows, 2], kind="stable")
        rows = rows[order]
        return TopicIndex(topic, table[rows, 2], stamps[order], table[rows][:, [0, 3, 4, 5]])

    def _compare_counts(self) -> None:
        """Report what the files or metadata.yaml count but the scan did not meet."""
        expected: dict[str, int] = {}
        for file in self._files:
            for name, count in file.expected.items():
                expected[name] = expected.get(name, 0) + count
        finished = all(file.finished for file in self._files)
        if self.metadata is not None:
            for listed in self.metadata.topics:
                if listed.count > expected.get(listed.name, 0):
                    expected[listed.name] = listed.count
        self.missing = {
            name: count - len(self.topics.get(name, ()))
            for name, count in sorted(expected.items())
            if count > len(self.topics.get(name, ()))
        }
        self.finished = finished and not self.missing
        for name, count in self.missing.items():
            have = len(self.topics.get(name, ()))
            self.damage.add(self.name, -1, f"{name}: {have} of {have + count} messages are left")


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts bag_2 before bag_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _decompressed(data: bytes) -> bytes:
    """Undo rosbag2's compression of single messages; a CDR message never begins like a zstd frame."""
    if not data.startswith(_ZSTD_MAGIC):
        return data
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except zstandard.ZstdError:
        return b""


def _decompressed_head(data: bytes) -> bytes:
    try:
        with zstandard.ZstdDecompressor().stream_reader(data) as stream:
            return bytes(stream.read(HEAD_BYTES))
    except zstandard.ZstdError:
        return b""
