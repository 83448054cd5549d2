"""Everything noted during a run, each thing with its time, for plots and video."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.images import RGBImage
from dream_vla_ros.report.frame_spool import FrameSpool
from dream_vla_ros.report.projection import PinholeCamera

T = TypeVar("T")


class Track(Generic[T]):
    """Values with their times, kept in order of time."""

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.values: list[T] = []

    def __len__(self) -> int:
        return len(self.values)

    def add(self, time_s: float, value: T) -> None:
        """Note a value; one that comes late is sorted in."""
        index = bisect_right(self.times_s, time_s)
        self.times_s.insert(index, time_s)
        self.values.insert(index, value)

    def at(self, time_s: float, max_age_s: float = float("inf")) -> T | None:
        """Return the newest value at a time; None when there is none or it is too old."""
        index = bisect_right(self.times_s, time_s) - 1
        if index < 0 or time_s - self.times_s[index] > max_age_s:
            return None
        return self.values[index]

    def between(self, begin_s: float, end_s: float) -> Iterator[tuple[float, T]]:
        """Iterate over times and values from begin to end, both included."""
        first, last = bisect_left(self.times_s, begin_s), bisect_right(self.times_s, end_s)
        yield from zip(self.times_s[first:last], self.values[first:last], strict=True)


@dataclass(frozen=True, eq=False)
class Command:
    """The motion commanded at one control tick.

    :param linear: (3,) m/s, base axes.
    :param angular: (3,) rad/s, base axes, about the end-effector point.
    :param gripper: Opening, 1 = open, 0 = closed.
    """

    linear: Array
    angular: Array
    gripper: float


@dataclass(frozen=True, eq=False)
class ChunkSeen:
    """An action chunk as it was published.

    :param latency_s: Capture of its oldest image to publication.
    """

    chunk: ActionChunk
    latency_s: float


@dataclass(frozen=True)
class ControllerSeen:
    """What the controller said of itself.

    :param mode: In words, for example ``executing``.
    :param chunk_id: Chunk being executed; 0 when none.
    :param step: Its step, from 0.
    """

    mode: str
    chunk_id: int
    step: int


@dataclass
class GoalSpan:
    """One language goal.

    :param outcome: How it ended, in words.
    :param reached: Whether the world says the task is done; None where nobody can tell.
    """

    instruction: str
    began_s: float
    ended_s: float
    outcome: str = ""
    reached: bool | None = None


@dataclass
class CameraTrack:
    """What one camera sent.

    :param optics: Intrinsics, where known.
    :param pose: Pose of the optical frame in the base frame, or in the end-effector frame where ``on_arm``.
    """

    frames: FrameSpool
    times: Track[int] = field(default_factory=Track)
    optics: PinholeCamera | None = None
    pose: Pose | None = None
    on_arm: bool = False

    def add(self, time_s: float, image: RGBImage) -> None:
        """Note an image.

        :param image: (H, W, 3) uint8 RGB.
        """
        self.times.add(time_s, self.frames.add(image))

    def at(self, time_s: float) -> RGBImage | None:
        """Return the newest image at a time."""
        index = self.times.at(time_s)
        return None if index is None else self.frames[index]

    def pose_in_base(self, end_effector: Pose | None) -> Pose | None:
        """Return where the camera is; None where that is not known.

        :param end_effector: Measured pose of the end effector in the base frame.
        """
        if self.pose is None or not self.on_arm:
            return self.pose
        return None if end_effector is None else end_effector.compose(self.pose)


@dataclass
class Recording:
    """One run. Times are seconds of one clock.

    :param source: Who acted, for example ``scripted expert``.
    :param warning: What a viewer must know, for example that weights are untrained; may be empty.
    """

    source: str = ""
    warning: str = ""
    cameras: dict[str, CameraTrack] = field(default_factory=dict)
    measured: Track[Pose] = field(default_factory=Track)
    target: Track[Pose] = field(default_factory=Track)
    commands: Track[Command] = field(default_factory=Track)
    chunks: Track[ChunkSeen] = field(default_factory=Track)
    controller: Track[ControllerSeen] = field(default_factory=Track)
    goals: list[GoalSpan] = field(default_factory=list)
