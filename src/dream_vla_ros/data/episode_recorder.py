"""One episode after another, each into a bag of its own; without ROS."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dream_vla_ros.data.bag_writer import BagStorage, BagWriter, WriterLimits, WriterStatus
from dream_vla_ros.data.episode_metadata import EpisodeMetadata, Takeover
from dream_vla_ros.data.errors import BagWriteError
from dream_vla_ros.data.storage import StoredTopic


class RecorderError(RuntimeError):
    """What was asked for cannot be done now; the message says why."""


@dataclass(frozen=True)
class EpisodeReport:
    """How an episode ended.

    :param duration_s: From first to last message, by arrival.
    :param recorded: Messages written, by topic.
    :param lost: Messages known to be missing, by topic: dropped here or lost on the way.
    :param failure: Why it was cut short; empty where it was not.
    """

    name: str
    path: Path
    duration_s: float
    recorded: Mapping[str, int]
    lost: Mapping[str, int]
    failure: str = ""


@dataclass(frozen=True)
class Robot:
    """Whose recordings they are.

    :param name: Name of the robot.
    :param text: Its parameter file as it is.
    """

    name: str
    text: str


class EpisodeRecorder:
    """Keeps at most one episode open. All methods may be called from any thread.

    :param folder: Bags are made in it.
    """

    def __init__(
        self,
        folder: Path,
        robot: Robot,
        *,
        storage: BagStorage = BagStorage.MCAP,
        limits: WriterLimits | None = None,
    ) -> None:
        self._folder = folder
        self._robot = robot
        self._storage = storage
        self._limits = limits or WriterLimits()
        self._lock = threading.RLock()
        self._writer: BagWriter | None = None
        self._lost: dict[str, int] = {}
        self._range: tuple[int, int] | None = None
        self._began_s = 0.0
        self._heard_s: dict[str, float] = {}

    @property
    def name(self) -> str:
        """Name of the open episode; empty where none is."""
        writer = self._writer
        return "" if writer is None else writer.path.name

    @property
    def elapsed_s(self) -> float:
        """How long the open episode has lasted; 0 where none is."""
        return 0.0 if self._writer is None else time.monotonic() - self._began_s

    def start(self, task: str, operator: str, ros_ns: int, *, taken_over: bool = False) -> Path:
        """Open an episode.

        :param task: The instruction it shows.
        :param ros_ns: Now, ROS time.
        :param taken_over: Whether a human has the arm already.
        :returns: Its bag.
        :raises RecorderError: If one is open, the task is empty or the bag cannot be made.
        """
        with self._lock:
            if self._writer is not None:
                raise RecorderError(f"{self.name} is being recorded; stop or discard it first")
            if not task.strip():
                raise RecorderError("the task is empty: say in words what the episode shows")
            metadata = EpisodeMetadata(
                task=task.strip(),
                robot=self._robot.name,
                embodiment=self._robot.text,
                operator=operator,
                takeovers=(Takeover(ros_ns),) if taken_over else (),
            )
            path = self._free_path()
            try:
                self._writer = BagWriter(path, metadata, storage=self._storage, limits=self._limits)
            except BagWriteError as error:
                with contextlib.suppress(OSError):
                    path.rmdir()
                raise RecorderError(str(error)) from error
            self._lost, self._range, self._heard_s = {}, None, {}
            self._began_s = time.monotonic()
            return path

    def write(self, topic: StoredTopic, data: bytes, received_ns: int) -> bool:
        """Keep a serialised message, if an episode is open.

        :param received_ns: ROS time.
        :returns: Whether it is kept; a message that is dropped for want of room is counted.
        """
        with self._lock:
            if self._writer is None:
                return False
            self._writer.add_topic(topic)
            self._heard_s[topic.name] = time.monotonic()
            first, last = self._range or (received_ns, received_ns)
            self._range = (min(first, received_ns), max(last, received_ns))
            return self._writer.write(topic.name, data, received_ns)

    def lose(self, topic: str, count: int = 1) -> None:
        """Count messages that never came to :meth:`write`."""
        with self._lock:
            if self._writer is not None:
                self._lost[topic] = self._lost.get(topic, 0) + count

    def take_over(self, taken: bool, ros_ns: int) -> None:
        """Note that a human took the arm over or handed it back; safe on the disk at once.

        :param ros_ns: When, ROS time.
        :raises RecorderError: If it cannot be written.
        """
        with self._lock:
            if self._writer is None:
                return
            known = self._writer.metadata.takeovers
            lasting = bool(known) and known[-1].end_ns is None
            if taken == lasting:
                return
            marked = (*known, Takeover(ros_ns)) if taken else (*known[:-1], replace(known[-1], end_ns=ros_ns))
            try:
                self._writer.update(replace(self._writer.metadata, takeovers=marked))
            except BagWriteError as error:
                raise RecorderError(str(error)) from error

    def silence_s(self, topic: str) -> float:
        """Return for how long the open episode has got nothing of a topic; 0 where none is open."""
        with self._lock:
            if self._writer is None:
                return 0.0
            return time.monotonic() - self._heard_s.get(topic, self._began_s)

    def heard(self, topic: str) -> bool:
        """Return whether the open episode holds a message of a topic."""
        return topic in self._heard_s

    def status(self) -> WriterStatus | None:
        """Tell how the open episode is doing; None where none is."""
        with self._lock:
            return None if self._writer is None else self._writer.status()

    def lost(self) -> dict[str, int]:
        """Return the messages known to be missing from the open episode, by topic."""
        with self._lock:
            dropped = {} if self._writer is None else dict(self._writer.status().dropped)
            return {name: dropped.get(name, 0) + self._lost.get(name, 0) for name in {*dropped, *self._lost}}

    def stop(self, success: bool | None, notes: str, ros_ns: int) -> EpisodeReport:
        """Close the episode.

        :param success: Whether the task was done; None where nobody can say.
        :param ros_ns: Now, ROS time.
        :raises RecorderError: If none is open.
        """
        with self._lock:
            writer = self._open()
            failure = ""
            try:
                self.take_over(False, ros_ns)
            except RecorderError as error:
                failure = str(error)
            self._writer = None
        lost_before = dict(self._lost)
        try:
            writer.lost_before_writing(lost_before)
            status = writer.close(success, notes)
        except BagWriteError as error:
            failure, status = str(error), writer.status()
        names = {*status.written, *status.dropped, *lost_before}
        lost = {name: status.dropped.get(name, 0) + lost_before.get(name, 0) for name in names}
        first, last = self._range or (0, 0)
        return EpisodeReport(
            writer.path.name, writer.path, (last - first) * 1e-9, status.written, lost, failure
        )

    def discard(self) -> str:
        """Close the episode and delete its bag.

        :returns: Its name.
        :raises RecorderError: If none is open, or it cannot be deleted.
        """
        with self._lock:
            writer = self._open()
            self._writer = None
        try:
            writer.discard()
        except OSError as error:
            raise RecorderError(f"{writer.path} cannot be deleted: {error}") from error
        return writer.path.name

    def _open(self) -> BagWriter:
        if self._writer is None:
            raise RecorderError("no episode is being recorded")
        return self._writer

    def _free_path(self) -> Path:
        name = f"{self._robot.name}_{time.strftime('%Y%m%d_%H%M%S')}"
        paths = [self._folder / name, *(self._folder / f"{name}_{number}" for number in range(2, 1000))]
        return next(path for path in paths if not path.exists())
