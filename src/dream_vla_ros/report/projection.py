"""Where points of the robot's world fall in a camera's image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dream_vla_ros.geometry import Array, Pose

# Nearer points would be drawn as streaks across the whole image.
_NEAREST_M = 0.02


@dataclass(frozen=True, eq=False)
class PinholeCamera:
    """A camera without distortion.

    :param matrix: (3, 3) K of a ``sensor_msgs/CameraInfo``; whole coordinates are pixel centres.
    :param width: Of the image [pixels].
    :param height: Of the image [pixels].
    """

    matrix: Array
    width: int
    height: int

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if (
            matrix.shape != (3, 3)
            or not np.all(np.isfinite(matrix))
            or matrix[0, 0] <= 0
            or matrix[1, 1] <= 0
        ):
            raise ValueError(f"not a camera matrix: {matrix.tolist()}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size {self.width} x {self.height} is not positive")
        object.__setattr__(self, "matrix", matrix)

    def scaled(self, width: int, height: int) -> PinholeCamera:
        """Return the camera for its image resized to another size."""
        x, y = width / self.width, height / self.height
        # Pixel centres are at whole numbers, so an image's edge is at -0.5 before and after.
        scale = np.array([[x, 0.0, (x - 1.0) / 2.0], [0.0, y, (y - 1.0) / 2.0], [0.0, 0.0, 1.0]])
        return PinholeCamera(scale @ self.matrix, width, height)

    def project(self, points: ArrayLike, pose: Pose) -> Array:
        """Project points into the image.

        :param points: (n, 3) m.
        :param pose: Pose of the optical frame (z forward, x right, y down) in the frame of the points.
        :returns: (n, 2) pixels, which may lie outside the image; NaN for points not in front of the camera.
        """
        local = (np.atleast_2d(np.asarray(points, dtype=np.float64)) - pose.position) @ pose.rotation
        depth = np.where(local[:, 2] >= _NEAREST_M, local[:, 2], np.nan)
        homogeneous = (local / depth[:, None]) @ self.matrix.T
        return homogeneous[:, :2]
