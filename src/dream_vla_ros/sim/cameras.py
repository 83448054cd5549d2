"""The two cameras: where they are mounted, their intrinsics and their optical frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dream_vla_ros.geometry import Array

THIRD_PERSON = "third_person"
WRIST = "wrist"
CAMERAS = (THIRD_PERSON, WRIST)

# MuJoCo's cameras look along -z with y up in the image; optical frames look along z with y down (REP 103).
OPTICAL_FROM_MUJOCO: Array = np.diag([1.0, -1.0, -1.0])
OPTICAL_FROM_MUJOCO.flags.writeable = False


@dataclass(frozen=True)
class CameraMount:
    """Where a camera is mounted and how wide it sees.

    :param link: Link it is fixed to; None for the world.
    :param position: In that frame [m].
    :param target: Point of that frame it looks at [m].
    :param fovy_deg: Vertical field of view [degrees].
    """

    link: str | None
    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fovy_deg: float


# Third person looks over the robot's right shoulder, so that the robot's left is left in the image; the wrist
# camera sits ahead of the gripper and sees both finger tips and the table in front of them.
CAMERA_MOUNTS: dict[str, CameraMount] = {
    THIRD_PERSON: CameraMount(None, (-0.25, -0.28, 0.65), (0.30, 0.01, 0.06), 38.0),
    WRIST: CameraMount("gripper_link", (0.02, 0.0, 0.075), (0.15, 0.0, 0.01), 78.0),
}


def look_at(position: ArrayLike, target: ArrayLike) -> Array:
    """Orient a MuJoCo camera with the frame's z axis pointing up in the image.

    :param position: (3,) camera centre.
    :param target: (3,) point to look at, not straight above or below.
    :returns: (3, 3) rotation of the camera in the frame the points are given in.
    """
    backward = np.asarray(position, dtype=np.float64) - np.asarray(target, dtype=np.float64)
    backward /= np.linalg.norm(backward)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    return np.column_stack([right, np.cross(backward, right), backward])


def intrinsics(fovy_deg: float, image_size: tuple[int, int]) -> Array:
    """Pinhole matrix of a camera with square pixels and its axis through the middle of the image.

    :param fovy_deg: Vertical field of view [degrees].
    :param image_size: Height and width [pixels].
    :returns: (3, 3) K; whole coordinates are pixel centres.
    """
    height, width = image_size
    focal = height / 2.0 / math.tan(math.radians(fovy_deg) / 2.0)
    return np.array([[focal, 0.0, (width - 1) / 2.0], [0.0, focal, (height - 1) / 2.0], [0.0, 0.0, 1.0]])
