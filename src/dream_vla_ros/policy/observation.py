"""What a policy looks at: one set of images, the arm's state and the instruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from dream_vla_ros.geometry import Pose
from dream_vla_ros.images import RGBImage
from dream_vla_ros.policy.overlap import Overlap
from dream_vla_ros.robot_state import RobotState


class SeesArm(Protocol):
    """What every policy's observation tells of the arm, whatever else is in it."""

    @property
    def oldest_stamp_ns(self) -> int:
        """The moment it stands for, ROS time."""
        ...

    @property
    def end_effector(self) -> Pose | None:
        """Measured pose in the base frame; None where it is not known."""
        ...

    @property
    def gripper(self) -> float | None:
        """Measured opening, 1 = open, 0 = closed; None where it is not known."""
        ...


@dataclass(frozen=True, eq=False)
class Observation:
    """One moment as the robot sees it.

    :param images: Camera names to images, (H, W, 3) uint8 RGB as the camera took them, in the order of the
        embodiment's cameras.
    :param stamps_ns: Camera names to capture times, ROS time.
    :param state: State of the arm at the capture of the oldest image; None where no policy asks for it.
    :param instruction: What to do, in words.
    :param overlap: How it lies on the chunk predicted before; None where nothing is to be continued.
    :raises ValueError: If there is no image, or an image without a stamp.
    """

    images: Mapping[str, RGBImage]
    stamps_ns: Mapping[str, int]
    state: RobotState | None
    instruction: str
    overlap: Overlap | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError("an observation needs at least one image")
        if set(self.images) != set(self.stamps_ns):
            raise ValueError(
                f"images are of {', '.join(sorted(self.images))}, but stamps of "
                f"{', '.join(sorted(self.stamps_ns)) or 'none'}"
            )

    @property
    def oldest_stamp_ns(self) -> int:
        """Capture time of the oldest image, ROS time: the moment the observation stands for."""
        return min(self.stamps_ns.values())

    @property
    def end_effector(self) -> Pose | None:
        """Measured pose in the base frame; None without a state."""
        return None if self.state is None else self.state.pose

    @property
    def gripper(self) -> float | None:
        """Measured opening, 1 = open, 0 = closed; None where it is not known."""
        return None if self.state is None else self.state.gripper
