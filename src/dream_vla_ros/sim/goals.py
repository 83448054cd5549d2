"""What has to hold for a task to be done: pure predicates on the table before and now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from dream_vla_ros.geometry import Array
from dream_vla_ros.sim.scene import BLOCK_SIZE_M
from dream_vla_ros.sim.state import TableState

LIFT_HEIGHT_M = 0.05
PUSH_DISTANCE_M = 0.06
# A block stays on another while its centre is above it, that is within 20 mm; a little less is stacked.
STACK_OFFSET_M = 0.018
REST_TOLERANCE_M = 0.006
# The gripper holds a 40 mm block at an opening of 0.54 and lets go of it above.
RELEASED_OPENING = 0.62
_HELD_DISTANCE_M = 0.035
# How far a push goes, unless that is less than it has to: to a line across the table. Where a block lay when
# the push began is not to be seen any more while it is pushed; whether it has come to the line is.
_PUSH_LINE_Y_M = 0.19
_PUSH_LINE_X_M = (0.17, 0.40)


class Direction(Enum):
    """A direction on the table as the robot sees it, in ``base_link``: left is +y, forward is +x."""

    LEFT = "left"
    RIGHT = "right"
    FORWARD = "forward"
    BACK = "back"

    @property
    def vector(self) -> Array:
        """Unit vector (3,) in ``base_link``."""
        return _DIRECTIONS[self].copy()

    @property
    def push_line_m(self) -> float:
        """Where along :attr:`vector` a pushed block comes to lie at least, in ``base_link`` [m]."""
        return _PUSH_LINES_M[self]


_DIRECTIONS = {
    Direction.LEFT: np.array([0.0, 1.0, 0.0]),
    Direction.RIGHT: np.array([0.0, -1.0, 0.0]),
    Direction.FORWARD: np.array([1.0, 0.0, 0.0]),
    Direction.BACK: np.array([-1.0, 0.0, 0.0]),
}
_PUSH_LINES_M = {
    Direction.LEFT: _PUSH_LINE_Y_M,
    Direction.RIGHT: _PUSH_LINE_Y_M,
    Direction.FORWARD: _PUSH_LINE_X_M[1],
    Direction.BACK: -_PUSH_LINE_X_M[0],
}


class Goal(Protocol):
    """A success predicate."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """Colours of the blocks it speaks of, all different."""
        ...

    def reached(self, start: TableState, now: TableState) -> bool:
        """Say whether it holds.

        :param start: The table when the task began.
        :param now: The table now.
        """
        ...


@dataclass(frozen=True)
class Lifted:
    """A block is held in the gripper above the table."""

    block: str

    @property
    def blocks(self) -> tuple[str, ...]:
        """Colours of the blocks it speaks of."""
        return (self.block,)

    def reached(self, start: TableState, now: TableState) -> bool:
        """Say whether the block is up and at the gripper."""
        block = now.blocks[self.block].position
        at_gripper = np.linalg.norm(block - now.end_effector.position) < _HELD_DISTANCE_M
        return bool(at_gripper and block[2] - BLOCK_SIZE_M / 2 >= LIFT_HEIGHT_M)


@dataclass(frozen=True)
class Stacked:
    """A block rests on another, which rests on what it lay on before, and the gripper has let go."""

    block: str
    base: str

    def __post_init__(self) -> None:
        if self.block == self.base:
            raise ValueError(f"the {self.block} block cannot be put on itself")

    @property
    def blocks(self) -> tuple[str, ...]:
        """Colours of the blocks it speaks of."""
        return (self.block, self.base)

    def reached(self, start: TableState, now: TableState) -> bool:
        """Say whether the tower stands by itself."""
        offset = now.blocks[self.block].position - now.blocks[self.base].position
        base_rise = now.blocks[self.base].position[2] - start.blocks[self.base].position[2]
        return bool(
            np.hypot(offset[0], offset[1]) <= STACK_OFFSET_M
            and abs(offset[2] - BLOCK_SIZE_M) <= REST_TOLERANCE_M
            and abs(base_rise) <= REST_TOLERANCE_M
            and now.gripper >= RELEASED_OPENING
        )


@dataclass(frozen=True)
class Pushed:
    """A block lies at least 6 cm further in a direction than it did, and less far off to the side."""

    block: str
    direction: Direction

    @property
    def blocks(self) -> tuple[str, ...]:
        """Colours of the blocks it speaks of."""
        return (self.block,)

    def reached(self, start: TableState, now: TableState) -> bool:
        """Say whether the block has gone far enough and lies on the table."""
        moved = now.blocks[self.block].position - start.blocks[self.block].position
        along = float(moved @ self.direction.vector)
        aside = moved - along * self.direction.vector
        on_table = abs(now.blocks[self.block].position[2] - BLOCK_SIZE_M / 2) <= REST_TOLERANCE_M
        return bool(along >= PUSH_DISTANCE_M and np.hypot(aside[0], aside[1]) < along and on_table)
