"""Images of several cameras as they come in, and the newest set of them that belongs together."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dream_vla_ros.embodiment import Timing

_NANOSECONDS = 1_000_000_000
# Enough to find partners for the frames of a slower camera; a deeper history would only be old.
_KEPT_FRAMES = 8
# Rates are of this many last frames.
_RATE_FRAMES = 32
# A camera whose stamps fall back by more has had its clock set or was started again; by less, its messages
# came out of order.
_CLOCK_JUMP_NS = 1 * _NANOSECONDS


class MissingInputError(Exception):
    """Nothing fresh enough to predict from; the message names the topic and the limit."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image message.

    :param stamp_ns: Capture time, ROS time.
    :param received_ns: When it came, steady clock.
    :param message: The message, not yet decoded.
    """

    stamp_ns: int
    received_ns: int
    message: Any

    def age_s(self, ros_ns: int, steady_ns: int) -> float:
        """Return how old it is: by its stamp or by the time since it came, whichever is more."""
        return max(ros_ns - self.stamp_ns, steady_ns - self.received_ns) / _NANOSECONDS


@dataclass
class CameraCounts:
    """What came from one camera since the subscription was made."""

    received: int = 0
    refused: int = 0
    last_refusal: str = ""


@dataclass
class CameraBuffer:
    """The newest frames of one camera.

    :param name: Name of the camera.
    :param topic: Full name of its topic, for messages.
    :param timing: Limits.
    """

    name: str
    topic: str
    timing: Timing
    counts: CameraCounts = field(default_factory=CameraCounts)
    _frames: deque[Frame] = field(default_factory=lambda: deque(maxlen=_KEPT_FRAMES))
    _arrivals: deque[int] = field(default_factory=lambda: deque(maxlen=_RATE_FRAMES))

    def add(self, frame: Frame, ros_ns: int) -> str:
        """Take a frame in, or refuse it.

        :param ros_ns: Now, ROS time.
        :returns: Why it was refused; empty where it was not.
        """
        self.counts.received += 1
        self._arrivals.append(frame.received_ns)
        refusal = self._refusal(frame, ros_ns)
        if refusal:
            return self.refuse(refusal)
        if self._frames and frame.stamp_ns < self._frames[-1].stamp_ns:
            self._frames.clear()
        self._frames.append(frame)
        return ""

    def refuse(self, reason: str, frame: Frame | None = None) -> str:
        """Count a refused frame and remember why.

        :param frame: One that was taken in before, to be dropped.
        :returns: The reason with the topic.
        """
        if frame is not None and frame in self._frames:
            self._frames.remove(frame)
        self.counts.refused += 1
        self.counts.last_refusal = reason
        return f"{self.topic}: {reason}"

    def forget(self) -> None:
        """Drop all frames, as after a jump of the ROS clock."""
        self._frames.clear()

    def rate_hz(self, steady_ns: int) -> float:
        """Return the rate of arrival lately; 0 where nothing came for a while.

        :param steady_ns: Now, steady clock.
        """
        if len(self._arrivals) < 2:
            return 0.0
        span_ns = self._arrivals[-1] - self._arrivals[0]
        silence_ns = steady_ns - self._arrivals[-1]
        mean_ns = span_ns / (len(self._arrivals) - 1)
        if silence_ns > _NANOSECONDS and silence_ns > 3 * mean_ns:
            return 0.0
        return _NANOSECONDS / mean_ns if mean_ns > 0 else 0.0

    def newest(self, ros_ns: int, steady_ns: int) -> Frame:
        """Return the newest frame.

        :raises MissingInputError: If there is none, or it is too old.
        """
        if self._frames and self._frames[-1].stamp_ns - ros_ns > self.timing.clock_tolerance * _NANOSECONDS:
            # The ROS clock was set back after the frames came.
            self.forget()
        if not self._frames:
            raise MissingInputError(f"no image on '{self.topic}'{self._why()}")
        age_s = self._frames[-1].age_s(ros_ns, steady_ns)
        if age_s > self.timing.image_max_age:
            raise MissingInputError(
                f"newest image on '{self.topic}' is {age_s:.2f} s old, more than timing.image_max_age "
                f"{self.timing.image_max_age:g} s{self._why()}"
            )
        return self._frames[-1]

    def newest_until(self, until_ns: int) -> int:
        """Return the stamp of the newest frame up to a moment.

        :raises MissingInputError: If all are newer.
        """
        stamps = [frame.stamp_ns for frame in self._frames if frame.stamp_ns <= until_ns]
        if not stamps:
            behind_s = (self._frames[-1].stamp_ns - until_ns) / _NANOSECONDS
            raise MissingInputError(
                f"the state of the arm lies {behind_s:.3f} s behind the images on '{self.topic}'"
            )
        return stamps[-1]

    def nearest(self, stamp_ns: int) -> Frame:
        """Return the frame taken nearest to a moment; there must be one."""
        return min(self._frames, key=lambda frame: abs(frame.stamp_ns - stamp_ns))

    def _why(self) -> str:
        return f" (last refused: {self.counts.last_refusal})" if self.counts.last_refusal else ""

    def _refusal(self, frame: Frame, ros_ns: int) -> str:
        if frame.stamp_ns == 0:
            return "image carries no stamp"
        ahead_s = (frame.stamp_ns - ros_ns) / _NANOSECONDS
        if ahead_s > self.timing.clock_tolerance:
            return (
                f"image is stamped {ahead_s:.3f} s in the future, more than timing.clock_tolerance "
                f"{self.timing.clock_tolerance:g} s; synchronise the clocks"
            )
        if self._frames:
            behind_ns = self._frames[-1].stamp_ns - frame.stamp_ns
            if 0 <= behind_ns <= _CLOCK_JUMP_NS:
                return (
                    "image carries the stamp of the one before"
                    if behind_ns == 0
                    else f"image is stamped {behind_ns / _NANOSECONDS:.3f} s before the one before it"
                )
        return ""


def newest_set(
    cameras: Sequence[CameraBuffer],
    ros_ns: int,
    steady_ns: int,
    newer_than_ns: int = 0,
    until_ns: int | None = None,
) -> dict[str, Frame]:
    """Choose one frame of each camera, as new and as close together as can be.

    :param cameras: At least one.
    :param ros_ns: Now, ROS time.
    :param steady_ns: Now, steady clock.
    :param newer_than_ns: The oldest of the set must be newer than this (ROS time).
    :param until_ns: The oldest of the set must not be newer than this; None sets no bound.
    :returns: Camera names to frames, in the given order.
    :raises MissingInputError: Naming the topic at fault and the limit.
    """
    newest = [camera.newest(ros_ns, steady_ns).stamp_ns for camera in cameras]
    anchor_ns = min(newest)
    if until_ns is not None and anchor_ns > until_ns:
        anchor_ns = cameras[newest.index(anchor_ns)].newest_until(until_ns)
    chosen = {camera.name: camera.nearest(anchor_ns) for camera in cameras}
    stamps = [frame.stamp_ns for frame in chosen.values()]
    timing = cameras[0].timing
    skew_s = (max(stamps) - min(stamps)) / _NANOSECONDS
    if skew_s > timing.camera_max_skew:
        first, last = (cameras[stamps.index(stamp)].topic for stamp in (min(stamps), max(stamps)))
        raise MissingInputError(
            f"images on '{first}' lie {skew_s:.3f} s behind those on '{last}', more than "
            f"timing.camera_max_skew {timing.camera_max_skew:g} s"
        )
    for camera, frame in zip(cameras, chosen.values(), strict=True):
        age_s = frame.age_s(ros_ns, steady_ns)
        if age_s > timing.image_max_age:
            raise MissingInputError(
                f"image on '{camera.topic}' that fits the others is {age_s:.2f} s old, more than "
                f"timing.image_max_age {timing.image_max_age:g} s"
            )
    if min(stamps) <= newer_than_ns:
        slowest = cameras[stamps.index(min(stamps))]
        raise MissingInputError(f"no new image on '{slowest.topic}' since the last prediction")
    return chosen
