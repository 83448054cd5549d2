"""An ideal table for planning on: the arm goes exactly where it is told, a held block moves along."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dream_vla_ros.geometry import (
    Array,
    matrix_from_quaternion,
    quaternion_from_rotation_vector,
    quaternion_multiply,
)
from dream_vla_ros.sim.arm import FINGER_SPEED_M_S, FINGER_THICKNESS_M, MAX_FINGER_TRAVEL_M, gripper_yaw
from dream_vla_ros.sim.scene import BLOCK_SIZE_M
from dream_vla_ros.sim.state import TableState

# How far the opening changes in one 0.2 s period.
OPENING_PER_STEP = FINGER_SPEED_M_S * 0.2 / MAX_FINGER_TRAVEL_M
# Opening with the fingers on both sides of a block, and the widest at which they press on it.
BLOCK_OPENING = BLOCK_SIZE_M / 2 / MAX_FINGER_TRAVEL_M
GRIPPED_OPENING = BLOCK_OPENING + 0.04
_PRESSING = GRIPPED_OPENING - BLOCK_OPENING
# Fingers as wide as a block that still overlap it by some 6 mm have nowhere to be but on it.
_IN_GRIP_M = (0.026, 0.020, 0.022)


@dataclass(frozen=True, eq=False)
class Motion:
    """One action: translation (3,) m, rotation vector (3,) rad, base axes; gripper 1 = open, 0 = closed."""

    translation: Array
    rotation: Array
    gripper: float


@dataclass(eq=False)
class ImaginedBlock:
    """A block: its centre (3,) m and how it is turned about the vertical, modulo a quarter turn."""

    position: Array
    yaw: float


class ImaginedTable:
    """End effector, gripper and blocks, changed in place by motions."""

    def __init__(
        self, position: Array, quaternion: Array, opening: float, blocks: dict[str, ImaginedBlock]
    ) -> None:
        self.position = position
        self.quaternion = quaternion
        self.opening = opening
        self.blocks = blocks

    @classmethod
    def from_state(cls, state: TableState) -> ImaginedTable:
        """Copy the measured state."""
        blocks = {
            colour: ImaginedBlock(pose.position.copy(), _quarter_yaw(pose.rotation))
            for colour, pose in state.blocks.items()
        }
        end_effector = state.end_effector
        return cls(end_effector.position.copy(), end_effector.quaternion.copy(), state.gripper, blocks)

    @property
    def yaw(self) -> float:
        """Turn of the fingers about the vertical [rad]: 0 opens them along the base's y axis."""
        return gripper_yaw(self.quaternion)

    def between_fingers(self, block: str) -> bool:
        """Say whether a block's centre is between the finger tips."""
        # Along the approach not quite half a block, across what open fingers leave free, aside half a width.
        return bool((np.abs(self._from_grip(block)) < (0.016, 0.017, 0.011)).all())

    def holds(self, block: str) -> bool:
        """Say whether the fingers press on a block, which may have slipped or turned in them."""
        return bool(
            BLOCK_OPENING - 0.15 < self.opening <= self._opening_around(block) + _PRESSING
            and (np.abs(self._from_grip(block)) < _IN_GRIP_M).all()
        )

    def apply(self, motion: Motion) -> None:
        """Carry out a motion as if nothing resisted or lagged."""
        closed = motion.gripper < GRIPPED_OPENING
        held = [name for name in self.blocks if closed and self.holds(name)]
        self._push_blocks(motion, held)
        for name in held:
            self._carry(self.blocks[name], motion)
        self.position = self.position + motion.translation
        self.quaternion = quaternion_multiply(
            quaternion_from_rotation_vector(motion.rotation), self.quaternion
        )
        change = min(max(motion.gripper - self.opening, -OPENING_PER_STEP), OPENING_PER_STEP)
        gripped = [name for name in self.blocks if name in held or self.between_fingers(name)]
        stop = max((self._opening_around(name) for name in gripped), default=0.0)
        self.opening = max(self.opening + change, min(stop, self.opening))

    def _from_grip(self, block: str) -> Array:
        """Return a block's centre (3,) from the end effector: along the approach, across fingers, aside."""
        offset = self.blocks[block].position - self.position
        return matrix_from_quaternion(self.quaternion).T @ offset

    def _opening_around(self, block: str) -> float:
        """Return the opening at which the fingers touch a block, turned as it is."""
        turn = self.blocks[block].yaw - self.yaw
        return BLOCK_OPENING * (abs(math.cos(turn)) + abs(math.sin(turn)))

    def _carry(self, block: ImaginedBlock, motion: Motion) -> None:
        rotation = matrix_from_quaternion(quaternion_from_rotation_vector(motion.rotation))
        block.position = self.position + motion.translation + rotation @ (block.position - self.position)
        block.yaw = wrap_quarter(block.yaw + motion.rotation[2])

    def _push_blocks(self, motion: Motion, held: list[str]) -> None:
        """Move blocks that closed fingers run into sideways, as the push skill does."""
        if self.opening > 0.3:
            return
        after = self.position + motion.translation
        for name, block in self.blocks.items():
            if name in held or after[2] > block.position[2] + BLOCK_SIZE_M / 2:
                continue
            offset = block.position - after
            for axis in (0, 1):
                room = reach_along(block.yaw, axis)
                before = block.position[axis] - self.position[axis]
                if (
                    abs(offset[1 - axis]) < BLOCK_SIZE_M / 2
                    and abs(before) >= room - 0.01
                    and abs(offset[axis]) < room
                ):
                    block.position = block.position.copy()
                    block.position[axis] = after[axis] + math.copysign(room, before)


def reach_along(yaw: float, axis: int) -> float:
    """Distance of a block's centre from closed fingers that touch it.

    :param yaw: How the block is turned [rad].
    :param axis: 0 to push along x, 1 along y; the fingers are thin along y.
    """
    half_block = BLOCK_SIZE_M / 2 * (abs(math.cos(yaw)) + abs(math.sin(yaw)))
    return half_block + (FINGER_THICKNESS_M if axis == 1 else FINGER_THICKNESS_M + 0.001)


def wrap_quarter(angle: float) -> float:
    """Return the angle modulo a quarter turn, within +-45 degrees."""
    quarter = math.pi / 2
    return (angle + quarter / 2) % quarter - quarter / 2


def _quarter_yaw(rotation: Array) -> float:
    upright = int(np.argmax(np.abs(rotation[2])))
    side = rotation[:, (upright + 1) % 3]
    return wrap_quarter(math.atan2(side[1], side[0]))
