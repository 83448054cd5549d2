"""Record one episode as a rosbag2 that a crash cannot take away."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from dream_vla_ros.data.bag_metadata import BagMetadata, TopicCount, sync_folder
from dream_vla_ros.data.episode_metadata import EpisodeMetadata, RecordingState
from dream_vla_ros.data.errors import BagWriteError
from dream_vla_ros.data.mcap_write import McapWriter
from dream_vla_ros.data.sqlite_write import SqliteWriter
from dream_vla_ros.data.storage import StoredTopic

LIBRARY = "dream_vla_ros"
_METADATA_NAME = "rosbag2"
_SUFFIX = {"mcap": ".mcap", "sqlite3": ".db3"}


class BagStorage(str, Enum):
    """Storage of a new bag."""

    MCAP = "mcap"
    SQLITE = "sqlite3"


@dataclass(frozen=True)
class WriterLimits:
    """How much may be at risk, and how much room is needed.

    :param flush_period_s: How often messages are handed to the disk. A kill loses what came since, and a
        power cut what the disk had not confirmed: one period and one write.
    :param flush_bytes: Flush earlier once this much waits.
    :param backlog_bytes: Once this much waits because the disk is too slow, messages are dropped and counted.
    :param min_free_bytes: Recording ends before the disk has less room than this.
    """

    flush_period_s: float = 0.15
    flush_bytes: int = 8 << 20
    backlog_bytes: int = 512 << 20
    min_free_bytes: int = 1 << 30


@dataclass(frozen=True)
class WriterStatus:
    """How a recording is doing.

    :param written: Messages on the disk or on their way, by topic.
    :param dropped: Messages that found no room, by topic.
    :param waiting_bytes: Bytes not yet handed to the disk.
    :param slowest_flush_s: Longest time that one flush has taken.
    :param failure: Why nothing is written any more; empty while all is well.
    """

    written: Mapping[str, int]
    dropped: Mapping[str, int]
    waiting_bytes: int
    free_bytes: int
    slowest_flush_s: float
    failure: str


class BagWriter:
    """Writes serialised messages, untouched, into one new bag folder; a thread of its own serves the disk.

    :param path: Folder to create; must not exist.
    :param metadata: What is known at the start; a crash leaves this much.
    :raises BagWriteError: If the folder exists, cannot be made, or its disk has too little room.
    """

    def __init__(
        self,
        path: str | Path,
        metadata: EpisodeMetadata,
        *,
        storage: BagStorage = BagStorage.MCAP,
        limits: WriterLimits | None = None,
    ) -> None:
        self.path = Path(path)
        self._limits = limits or WriterLimits()
        self._metadata = replace(metadata, state=RecordingState.RECORDING)
        self._kind = storage
        self._topics: dict[str, int] = {}
        self._described: dict[str, StoredTopic] = {}
        self._written: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._pending: list[tuple[int, int, bytes]] = []
        self._pending_bytes = 0
        self._new_topics: list[tuple[int, StoredTopic]] = []
        self._range: tuple[int, int] | None = None
        self._failure = ""
        self._slowest_s = 0.0
        self._free_bytes = 0
        self._closing = False
        self._closed = False
        self._state = threading.Condition()
        self._disk = threading.Lock()
        try:
            self.path.mkdir(parents=True)
            self._check_room()
            file = self.path / f"{self.path.name}_0{_SUFFIX[storage.value]}"
            self._file = McapWriter(file, LIBRARY) if storage is BagStorage.MCAP else SqliteWriter(file)
            self._write_metadata()
            sync_folder(self.path.parent)
        except (OSError, sqlite3.Error) as error:
            raise BagWriteError(f"{self.path}: cannot be recorded to: {error}") from error
        self._thread = threading.Thread(target=self._serve_disk, name="bag writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if not self._closed:
            self.close(success=None if kind is None else False)

    def add_topic(self, topic: StoredTopic) -> None:
        """Announce a topic before its first message.

        :raises BagWriteError: If it was announced before with another type.
        """
        with self._state:
            known = self._described.get(topic.name)
            if known is not None:
                if known.type != topic.type:
                    raise BagWriteError(f"{topic.name} is already recorded as {known.type}, not {topic.type}")
                return
            key = len(self._topics) + 1
            self._topics[topic.name] = key
            self._described[topic.name] = topic
            self._written[topic.name] = 0
            self._new_topics.append((key, topic))

    def write(self, topic: str, data: bytes, log_ns: int, *, wait: bool = False) -> bool:
        """Take one serialised message.

        :param log_ns: When it was received, ROS time.
        :param wait: Wait for a disk that is too slow instead of dropping the message; for copies, not for
            live recording.
        :returns: False if it was dropped, which is counted, because the disk is too slow or full.
        :raises KeyError: If the topic was not announced.
        """
        with self._state:
            key = self._topics[topic]
            if wait:
                self._state.wait_for(lambda: self._failure or self._pending_bytes <= self._limits.flush_bytes)
            if self._failure or self._closed or self._pending_bytes + len(data) > self._limits.backlog_bytes:
                self._dropped[topic] = self._dropped.get(topic, 0) + 1
                return False
            self._pending.append((key, log_ns, bytes(data)))
            self._pending_bytes += len(data)
            self._written[topic] += 1
            if self._range is None:
                self._range = (log_ns, log_ns)
            self._range = (min(self._range[0], log_ns), max(self._range[1], log_ns))
            if self._pending_bytes >= self._limits.flush_bytes:
                self._state.notify_all()
            return True

    def update(self, metadata: EpisodeMetadata) -> None:
        """Replace what is known about the episode, for example when a human takes over; safe at once.

        :raises BagWriteError: If it cannot be written.
        """
        with self._disk:
            self._metadata = replace(metadata, state=RecordingState.RECORDING)
            try:
                self._write_metadata()
            except OSError as error:
                raise BagWriteError(f"{self.path}: metadata cannot be written: {error}") from error

    @property
    def metadata(self) -> EpisodeMetadata:
        """What is known about the episode."""
        return self._metadata

    def lost_before_writing(self, lost: Mapping[str, int]) -> None:
        """Note in the metadata, too, what never came to :meth:`write`.

        :param lost: Messages by topic.
        """
        with self._state:
            self._lost = dict(lost)

    def status(self) -> WriterStatus:
        """Tell how the recording is doing."""
        with self._state:
            return WriterStatus(
                dict(self._written),
                dict(self._dropped),
                self._pending_bytes,
                self._free_bytes,
                self._slowest_s,
                self._failure,
            )

    def close(self, success: bool | None = None, notes: str = "") -> WriterStatus:
        """Write what is left, the index and the final metadata.

        :param success: Whether the episode's task was done; None where nobody said.
        :raises BagWriteError: If the bag could not be finished; what was flushed before can be recovered.
        """
        if self._closed:
            raise BagWriteError(f"{self.path}: already closed")
        with self._state:
            self._closing = True
            self._state.notify_all()
        self._thread.join()
        self._closed = True
        with self._disk:
            self._metadata = replace(
                self._metadata,
                success=success,
                notes=notes or self._metadata.notes,
                dropped=tuple(sorted(_sum(self._dropped, self._lost).items())),
                state=RecordingState.FINISHED if not self._failure else RecordingState.RECORDING,
            )
            try:
                if not self._failure:
                    self._file.write_metadata(
                        _METADATA_NAME, {"serialized_metadata": self._bag_metadata().dump_inner()}
                    )
                    self._file.close()
                self._write_metadata()
            except (OSError, sqlite3.Error) as error:
                self._failure = self._failure or str(error) or repr(error)
            if self._failure:
                self._file.abandon()
                raise BagWriteError(f"{self.path}: recording was cut short: {self._failure}")
        return self.status()

    def discard(self) -> None:
        """Stop and delete the bag."""
        with self._state:
            self._closing = True
            self._pending, self._pending_bytes = [], 0
            self._state.notify_all()
        self._thread.join()
        self._closed = True
        self._file.abandon()
        shutil.rmtree(self.path)

    def _serve_disk(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(
                    lambda: self._closing or self._pending_bytes >= self._limits.flush_bytes,
                    self._limits.flush_period_s,
                )
                closing = self._closing
                topics, self._new_topics = self._new_topics, []
                messages, self._pending = self._pending, []
                taken_bytes = self._pending_bytes
            began = time.monotonic()
            failure = self._flush(topics, messages)
            with self._state:
                # Counted as waiting until they are safe, so that the backlog limit sees a disk that hangs.
                self._pending_bytes -= taken_bytes
                self._slowest_s = max(self._slowest_s, time.monotonic() - began)
                if failure:
                    self._fail(failure, [*messages, *self._pending])
                    self._pending, self._pending_bytes = [], 0
                self._state.notify_all()
                if failure or (closing and not self._pending):
                    return

    def _flush(self, topics: list[tuple[int, StoredTopic]], messages: list[tuple[int, int, bytes]]) -> str:
        with self._disk:
            try:
                self._check_room()
                for key, topic in topics:
                    self._file.add_topic(key, topic)
                if topics:
                    self._write_metadata()
                if messages:
                    self._file.write(messages)
                    self._file.sync()
            except Exception as error:  # whatever it is, the recording must stop with its cause known
                return str(error) or repr(error)
        return ""

    def _fail(self, failure: str, lost: list[tuple[int, int, bytes]]) -> None:
        self._failure = failure
        names = {key: name for name, key in self._topics.items()}
        for key, _, _ in lost:
            name = names[key]
            self._written[name] -= 1
            self._dropped[name] = self._dropped.get(name, 0) + 1

    def _check_room(self) -> None:
        self._free_bytes = shutil.disk_usage(self.path).free
        if self._free_bytes < self._limits.min_free_bytes:
            raise BagWriteError(
                f"only {self._free_bytes / 1e9:.2f} GB are free, {self._limits.min_free_bytes / 1e9:.2f} GB "
                "must stay free: make room or record to another disk"
            )

    def _bag_metadata(self) -> BagMetadata:
        with self._state:
            start, end = self._range or (0, 0)
            topics = [(topic, self._written[name]) for name, topic in self._described.items()]
        return BagMetadata(
            storage=self._kind.value,
            files=(self._file.path.name,),
            topics=tuple(
                TopicCount(topic.name, topic.type, count, topic.serialization, topic.qos, topic.type_hash)
                for topic, count in topics
            ),
            start_ns=start,
            duration_ns=end - start,
            custom=self._metadata.to_custom_data(),
        )

    def _write_metadata(self) -> None:
        self._bag_metadata().write(self.path)


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in {*first, *second}}
