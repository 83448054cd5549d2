"""Poses, quaternions and rotation vectors.

Quaternions are (x, y, z, w) as in ``geometry_msgs/Quaternion``; rotation vectors are axis times angle in rad;
roll, pitch, yaw are rotations about the fixed x, y, z axes in that order (REP 103). Everything is float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, sin, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from transforms3d import euler, quaternions

Array = NDArray[np.float64]

# Below this angle the series of sin(x/2)/x to second order is exact to double precision.
_SMALL_ANGLE_RAD = 1e-4


def normalize_quaternion(quaternion: ArrayLike) -> Array:
    """Scale a quaternion to length one.

    :param quaternion: (4,) x, y, z, w.
    :raises ValueError: If it is not finite or too short to have a direction.
    """
    q = np.asarray(quaternion, dtype=np.float64)
    norm = float(np.linalg.norm(q))
    if q.shape != (4,) or not np.isfinite(norm) or norm < 1e-6:
        raise ValueError(f"not a rotation: quaternion (x, y, z, w) = {q.tolist()}")
    return q / norm


def quaternion_conjugate(quaternion: ArrayLike) -> Array:
    """Invert a unit quaternion.

    :param quaternion: (4,) x, y, z, w.
    """
    x, y, z, w = np.asarray(quaternion, dtype=np.float64)
    return np.array([-x, -y, -z, w])


def quaternion_multiply(first: ArrayLike, second: ArrayLike) -> Array:
    """Compose two rotations: the result applies ``second`` first, then ``first``.

    :param first: (4,) x, y, z, w.
    :param second: (4,) x, y, z, w.
    """
    ax, ay, az, aw = (float(v) for v in np.asarray(first))
    bx, by, bz, bw = (float(v) for v in np.asarray(second))
    return np.array(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ]
    )


def quaternion_from_rotation_vector(rotation_vector: ArrayLike) -> Array:
    """Turn a rotation vector into a unit quaternion (exponential map).

    :param rotation_vector: (3,) rad.
    :returns: (4,) x, y, z, w.
    """
    x, y, z = (float(v) for v in np.asarray(rotation_vector, dtype=np.float64))
    angle = sqrt(x * x + y * y + z * z)
    scale = 0.5 - angle * angle / 48.0 if angle < _SMALL_ANGLE_RAD else sin(angle / 2.0) / angle
    return np.array([x * scale, y * scale, z * scale, cos(angle / 2.0)])


def rotation_vector_from_quaternion(quaternion: ArrayLike) -> Array:
    """Turn a unit quaternion into the shortest rotation vector (logarithm).

    :param quaternion: (4,) x, y, z, w.
    :returns: (3,) rad, length at most pi.
    """
    x, y, z, w = (float(v) for v in np.asarray(quaternion, dtype=np.float64))
    if w < 0.0:
        x, y, z, w = -x, -y, -z, -w
    sine = sqrt(x * x + y * y + z * z)
    scale = 2.0 / w if sine < _SMALL_ANGLE_RAD / 2.0 else 2.0 * atan2(sine, w) / sine
    if sine < _SMALL_ANGLE_RAD / 2.0:
        scale *= 1.0 - (sine / w) ** 2 / 3.0
    return np.array([x * scale, y * scale, z * scale])


def quaternion_from_matrix(matrix: ArrayLike) -> Array:
    """Turn a rotation matrix into a unit quaternion with w >= 0.

    :param matrix: (3, 3) proper rotation.
    :returns: (4,) x, y, z, w.
    """
    w, x, y, z = quaternions.mat2quat(np.asarray(matrix, dtype=np.float64))
    return normalize_quaternion([x, y, z, w])


def matrix_from_quaternion(quaternion: ArrayLike) -> Array:
    """Turn a unit quaternion into a rotation matrix.

    :param quaternion: (4,) x, y, z, w.
    :returns: (3, 3).
    """
    x, y, z, w = np.asarray(quaternion, dtype=np.float64)
    return np.asarray(quaternions.quat2mat([w, x, y, z]), dtype=np.float64)


def quaternion_from_rpy(rpy: ArrayLike) -> Array:
    """Turn roll, pitch, yaw about the fixed axes into a unit quaternion.

    :param rpy: (3,) rad.
    :returns: (4,) x, y, z, w.
    """
    roll, pitch, yaw = np.asarray(rpy, dtype=np.float64)
    w, x, y, z = euler.euler2quat(roll, pitch, yaw, axes="sxyz")
    return np.array([x, y, z, w])


def rpy_from_quaternion(quaternion: ArrayLike) -> Array:
    """Turn a unit quaternion into roll, pitch, yaw about the fixed axes.

    :param quaternion: (4,) x, y, z, w.
    :returns: (3,) rad; pitch within +-pi/2.
    """
    x, y, z, w = np.asarray(quaternion, dtype=np.float64)
    return np.asarray(euler.quat2euler([w, x, y, z], axes="sxyz"), dtype=np.float64)


def rotation_between(start: ArrayLike, end: ArrayLike) -> Array:
    """Rotation that leads from one orientation to another, in the axes both are given in.

    :param start: (4,) x, y, z, w.
    :param end: (4,) x, y, z, w.
    :returns: (3,) rotation vector r [rad] with ``end = exp(r) * start``, length at most pi.
    """
    return rotation_vector_from_quaternion(quaternion_multiply(end, quaternion_conjugate(start)))


def angle_between(first: ArrayLike, second: ArrayLike) -> float:
    """Angle between two orientations in rad, from 0 to pi."""
    return float(np.linalg.norm(rotation_between(first, second)))


@dataclass(frozen=True, eq=False)
class Pose:
    """Position and orientation of one frame in another.

    :param position: (3,) m.
    :param quaternion: (4,) x, y, z, w; normalised on construction.
    :raises ValueError: If anything is not finite or the quaternion has no direction.
    """

    position: Array
    quaternion: Array

    def __post_init__(self) -> None:
        position = np.array(self.position, dtype=np.float64)
        if position.shape != (3,) or not np.all(np.isfinite(position)):
            raise ValueError(f"not a position: {position.tolist()}")
        object.__setattr__(self, "position", position)
        object.__setattr__(self, "quaternion", normalize_quaternion(self.quaternion))

    @classmethod
    def identity(cls) -> Pose:
        """Return the pose of a frame in itself."""
        return cls(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> Pose:
        """Read a homogeneous transform.

        :param matrix: (4, 4).
        """
        m = np.asarray(matrix, dtype=np.float64)
        return cls(m[:3, 3], quaternion_from_matrix(m[:3, :3]))

    @property
    def rotation(self) -> Array:
        """Rotation matrix (3, 3)."""
        return matrix_from_quaternion(self.quaternion)

    @property
    def matrix(self) -> Array:
        """Homogeneous transform (4, 4)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.position
        return matrix

    def compose(self, other: Pose) -> Pose:
        """Chain two poses: ``other`` is given in this frame, the result in this frame's parent."""
        return Pose(
            self.position + self.rotation @ other.position,
            quaternion_multiply(self.quaternion, other.quaternion),
        )

    def inverse(self) -> Pose:
        """Return the pose of the parent frame in this frame."""
        conjugate = quaternion_conjugate(self.quaternion)
        return Pose(-(matrix_from_quaternion(conjugate) @ self.position), conjugate)

    def moved(self, translation: ArrayLike, rotation_vector: ArrayLike) -> Pose:
        """Move along and about the parent's axes, rotating about this frame's own origin.

        :param translation: (3,) m in the parent's axes.
        :param rotation_vector: (3,) rad in the parent's axes.
        """
        return Pose(
            self.position + np.asarray(translation, dtype=np.float64),
            quaternion_multiply(quaternion_from_rotation_vector(rotation_vector), self.quaternion),
        )

    def motion_to(self, other: Pose) -> tuple[Array, Array]:
        """Return translation (3,) [m] and rotation vector (3,) [rad] that lead ``moved`` to ``other``."""
        return other.position - self.position, rotation_between(self.quaternion, other.quaternion)
