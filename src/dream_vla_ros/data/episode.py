"""One demonstration on the embodiment's period: what training sees of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dream_vla_ros.geometry import Array
from dream_vla_ros.images import RGBImage
from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.robot_state import RobotState
from dream_vla_ros.series import Bool, Int64, Poses


@dataclass(frozen=True)
class StoredImage:
    """An image as it was recorded.

    :param decode: Turns it into (H, W, 3) uint8 RGB, as the camera took it.
    :param encoded: Its JPEG or PNG bytes where it was recorded as such; empty for raw images.
    """

    decode: Callable[[], RGBImage]
    encoded: bytes = b""


class ImageSource(Protocol):
    """The images of one camera in one episode."""

    def __len__(self) -> int:
        """Frames there are."""

    def __iter__(self) -> Iterator[StoredImage]:
        """Go through them in order, which is fast."""

    def __getitem__(self, frame: int) -> StoredImage:
        """Fetch one."""


@dataclass(frozen=True)
class Origin:
    """Where an episode comes from.

    :param source: Bag or dataset.
    :param part: Number of the episode within it: a recording with gaps or several goals gives several.
    :param first_ns: Time of its first frame.
    """

    source: str
    part: int
    first_ns: int


@dataclass(frozen=True, eq=False)
class Episode:
    """Frames at equal distances in time, each with the action that was taken from there to the next.

    :param instruction: What was done, in words.
    :param period_s: Time between frames.
    :param times_ns: (frames,) what time each frame stands for.
    :param images: Camera names to images.
    :param image_stamps_ns: Camera names to (frames,) capture times.
    :param poses: End effector in the base frame at each frame.
    :param joints: Joint names to (frames,) positions; the fingers, at least.
    :param opening: (frames,) measured gripper opening; NaN where the robot has no finger joints.
    :param motion: What was done in the period after each frame, in SI units.
    :param actions: (frames, 7) the same in the model's convention.
    :param proprio: (frames, numbers) the arm's state as the model sees it; no numbers where it sees none.
    :param takeover: (frames,) whether a human had taken over.
    :param success: Whether the task was done; None where nobody said.
    """

    instruction: str
    period_s: float
    times_ns: Int64
    images: Mapping[str, ImageSource]
    image_stamps_ns: Mapping[str, Int64]
    poses: Poses
    joints: Mapping[str, Array]
    opening: Array
    motion: Motion
    actions: Array
    proprio: Array
    takeover: Bool
    origin: Origin
    success: bool | None = None
    notes: str = ""
    report: EpisodeReport = field(default_factory=lambda: EpisodeReport())

    def __len__(self) -> int:
        return len(self.times_ns)

    def observation(self, frame: int) -> Observation:
        """Return what a policy would have been given at a frame, for the same code to look at."""
        joints = {name: float(values[frame]) for name, values in self.joints.items()}
        opening = float(self.opening[frame])
        return Observation(
            images={name: source[frame].decode() for name, source in self.images.items()},
            stamps_ns={name: int(stamps[frame]) for name, stamps in self.image_stamps_ns.items()},
            state=RobotState(
                stamp_ns=int(self.times_ns[frame]),
                received_ns=int(self.times_ns[frame]),
                pose=self.poses[frame],
                joints=joints,
                joints_stamp_ns=int(self.times_ns[frame]) if joints else None,
                gripper=None if np.isnan(opening) else opening,
            ),
            instruction=self.instruction,
        )


@dataclass(frozen=True)
class EpisodeReport:
    """What became of a recording's time.

    :param ticks: Frames that its time span has room for.
    :param kept: Frames of the episode.
    :param dropped: Reasons to numbers of frames left out.
    :param notes: What was noticed on the way, one sentence each.
    """

    ticks: int = 0
    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Find unbroken runs of True.

    :returns: First index and the one after the last, of each.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
