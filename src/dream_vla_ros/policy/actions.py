"""Between a model's actions, in the units and conventions of its training set, and motion in SI units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dream_vla_ros.embodiment import Embodiment, RotationConvention
from dream_vla_ros.geometry import (
    Array,
    quaternion_conjugate,
    quaternion_from_rotation_vector,
    quaternion_from_rpy,
    quaternion_multiply,
    rotation_between,
    rotation_vector_from_quaternion,
    rpy_from_quaternion,
)

ACTION_SIZE = 7


class ActionError(ValueError):
    """Actions that must not be turned into motion; the message says which step and why."""


@dataclass(frozen=True, eq=False)
class Motion:
    """A sequence of achieved end-effector motions.

    :param translation: (steps, 3) m per period, base axes.
    :param rotation: (steps, 3) rotation vectors, rad per period, base axes, about the end-effector point.
    :param gripper: (steps,) absolute opening, 1 = open, 0 = closed.
    """

    translation: Array
    rotation: Array
    gripper: Array

    def __len__(self) -> int:
        return len(self.translation)


class Rotations(Protocol):
    """One meaning of the three rotation numbers of an action."""

    def to_vectors(self, numbers: Array, orientation: Array) -> Array:
        """Return rotation vectors (steps, 3) [rad] for numbers (steps, 3) [rad].

        :param orientation: (4,) x, y, z, w of the end effector before the first step.
        """

    def from_vectors(self, vectors: Array, orientation: Array) -> Array:
        """Return the numbers (steps, 3) [rad] for rotation vectors (steps, 3) [rad]."""


@dataclass(frozen=True)
class RotationVectors:
    """The numbers are the rotation vector."""

    def to_vectors(self, numbers: Array, orientation: Array) -> Array:
        """Return them."""
        return numbers

    def from_vectors(self, vectors: Array, orientation: Array) -> Array:
        """Return them."""
        return vectors


@dataclass(frozen=True)
class RollPitchYaw:
    """The numbers are roll, pitch, yaw of the rotation itself."""

    def to_vectors(self, numbers: Array, orientation: Array) -> Array:
        """Turn each step's angles into a rotation vector."""
        return np.array([rotation_vector_from_quaternion(quaternion_from_rpy(rpy)) for rpy in numbers])

    def from_vectors(self, vectors: Array, orientation: Array) -> Array:
        """Turn each step's rotation vector into angles; pitch within a quarter turn."""
        return np.array([rpy_from_quaternion(quaternion_from_rotation_vector(vector)) for vector in vectors])


@dataclass(frozen=True, eq=False)
class EulerDifferences:
    """The numbers are differences of the roll, pitch, yaw of successive orientations R * D^T.

    :param reference: (4,) x, y, z, w of D.
    """

    reference: Array

    def to_vectors(self, numbers: Array, orientation: Array) -> Array:
        """Add the differences up along the chunk and take the rotation between successive orientations."""
        rpy = self._rpy(orientation)
        vectors = np.empty_like(numbers)
        for step, difference in enumerate(numbers):
            rpy = rpy + difference
            following = quaternion_multiply(quaternion_from_rpy(rpy), self.reference)
            vectors[step] = rotation_between(orientation, following)
            orientation = following
        return vectors

    def from_vectors(self, vectors: Array, orientation: Array) -> Array:
        """Follow the rotations along the chunk and take differences of angles, within half a turn each."""
        rpy = self._rpy(orientation)
        numbers = np.empty_like(vectors)
        for step, vector in enumerate(vectors):
            orientation = quaternion_multiply(quaternion_from_rotation_vector(vector), orientation)
            following = self._rpy(orientation)
            numbers[step] = (following - rpy + np.pi) % (2.0 * np.pi) - np.pi
            rpy = following
        return numbers

    def _rpy(self, orientation: Array) -> Array:
        return rpy_from_quaternion(quaternion_multiply(orientation, quaternion_conjugate(self.reference)))


@dataclass(frozen=True)
class Gripper:
    """The model's gripper number.

    :param opened: Number for open.
    :param closed: Number for closed.
    """

    opened: float
    closed: float

    def to_opening(self, numbers: Array) -> Array:
        """Return openings within 0 (closed) to 1 (open)."""
        return np.clip((numbers - self.closed) / (self.opened - self.closed), 0.0, 1.0)

    def from_opening(self, openings: Array) -> Array:
        """Return the model's numbers."""
        return self.closed + openings * (self.opened - self.closed)


@dataclass(frozen=True)
class ActionCodec:
    """Turns the actions of models trained for one robot into motion, and motion into such actions.

    :param translation_unit: Metres achieved per unit of translation.
    :param rotation_unit: Radians achieved per unit of rotation.
    """

    translation_unit: float
    rotation_unit: float
    rotations: Rotations
    gripper: Gripper

    @classmethod
    def from_embodiment(cls, embodiment: Embodiment) -> ActionCodec:
        """Build from a robot's action space."""
        action = embodiment.action
        rotations: dict[RotationConvention, Rotations] = {
            RotationConvention.ROTATION_VECTOR: RotationVectors(),
            RotationConvention.RPY_ROTATION: RollPitchYaw(),
            RotationConvention.EULER_DIFFERENCE: EulerDifferences(embodiment.proprio.reference_quaternion),
        }
        return cls(
            translation_unit=action.translation_scale * action.achieved_fraction,
            rotation_unit=action.rotation_scale * action.achieved_fraction,
            rotations=rotations[action.rotation],
            gripper=Gripper(action.gripper_open, action.gripper_closed),
        )

    @property
    def needs_orientation(self) -> bool:
        """Whether the measured orientation decides what the rotation numbers mean."""
        return isinstance(self.rotations, EulerDifferences)

    def to_motion(self, actions: ArrayLike, orientation: ArrayLike) -> Motion:
        """Turn a model's actions into motion.

        :param actions: (steps, 7) un-normalised: translation, rotation, gripper.
        :param orientation: (4,) x, y, z, w of the end effector when the observation was taken.
        :raises ActionError: If the shape is wrong or a number is not finite.
        """
        numbers = check_actions(actions)
        start = np.asarray(orientation, dtype=np.float64)
        return Motion(
            translation=numbers[:, :3] * self.translation_unit,
            rotation=self.rotations.to_vectors(numbers[:, 3:6] * self.rotation_unit, start),
            gripper=self.gripper.to_opening(numbers[:, 6]),
        )

    def to_actions(self, motion: Motion, orientation: ArrayLike) -> Array:
        """Turn motion into the actions a model of this robot would have to predict for it.

        :param orientation: (4,) x, y, z, w of the end effector before the first step.
        :returns: (steps, 7) un-normalised.
        """
        start = np.asarray(orientation, dtype=np.float64)
        vectors = np.asarray(motion.rotation, dtype=np.float64)
        return np.concatenate(
            [
                np.asarray(motion.translation, dtype=np.float64) / self.translation_unit,
                self.rotations.from_vectors(vectors, start) / self.rotation_unit,
                self.gripper.from_opening(np.asarray(motion.gripper, dtype=np.float64))[:, None],
            ],
            axis=1,
        )


def check_actions(actions: ArrayLike) -> NDArray[np.float64]:
    """Return actions as (steps, 7) float64.

    :raises ActionError: If the shape is another or a number is not finite.
    """
    numbers = np.asarray(actions, dtype=np.float64)
    if numbers.ndim != 2 or numbers.shape[1] != ACTION_SIZE or not len(numbers):
        raise ActionError(f"actions have shape {numbers.shape}, not (steps, {ACTION_SIZE})")
    if not np.isfinite(numbers).all():
        step, index = (int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
        raise ActionError(
            f"action {step} of {len(numbers)} is not finite: number {index} is {numbers[step, index]}"
        )
    return numbers
