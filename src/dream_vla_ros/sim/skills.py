"""What the expert does next in each skill, read off the table alone.

Speeds stay within 0.03 m and 0.15 rad per step. Approaches lead down a funnel: far to the side the gripper
keeps above the blocks, and the nearer it is to where it has to go, the lower it may be.
"""

from __future__ import annotations

import math

import numpy as np

from dream_vla_ros.geometry import Array, rotation_between
from dream_vla_ros.sim.arm import FINGER_THICKNESS_M, FINGER_WIDTH_M, MAX_FINGER_TRAVEL_M, gripper_down
from dream_vla_ros.sim.goals import (
    PUSH_DISTANCE_M,
    RELEASED_OPENING,
    REST_TOLERANCE_M,
    STACK_OFFSET_M,
    Direction,
)
from dream_vla_ros.sim.imagined import ImaginedTable, Motion, reach_along
from dream_vla_ros.sim.scene import BLOCK_SIZE_M

MAX_TRANSLATION_M = 0.03
MAX_ROTATION_RAD = 0.15

# Finger tips 12 mm below the end effector pass over a block lying on the table with 4 cm to spare.
_HOVER_M = 0.075
_CARRY_HOVER_M = 0.05
# A policy looks again after half a chunk, 0.8 s. Set down slower than that, it has looked from above the
# place before it lets go; at full speed it decides from 9 cm away.
_SET_DOWN_M = 0.012
_LIFTED_M = 0.14
_RETREAT_M = 0.06
_PUSH_HEIGHT_M = 0.02
_PUSH_ENOUGH_M = PUSH_DISTANCE_M + 0.008
# Pushes aim beyond what is enough, so that a push that falls short is not begun again.
_PUSH_FURTHER_M = 0.01
_PUSH_BEYOND_DRIFT_M = 0.008
# Grasps keep the fingers within 60 degrees of opening sideways, so that the wrist camera looks ahead; farther
# costs as much as a turn of 1 rad, and coming down on another block more than any turn.
_MAX_YAW_RAD = math.radians(60.0)
_TURN_TOO_FAR = 1.0
_FINGER_BLOCKED = 5.0
# Lower than this, fingers that close around a block of a tower also press on the one below.
_TOO_LOW_M = 0.012
# Between a block's inner and outer radius, 20 and 28 mm.
_BLOCK_RADIUS_M = 0.025
_OPEN = 0.9
# Wide enough to rise off a block even if something keeps the fingers from opening all the way.
_LET_GO = RELEASED_OPENING + 0.04
# A miss of this much is no reason to move.
_POSITION_TOLERANCE_M = 0.004
_ROTATION_TOLERANCE_RAD = 0.06

_STILL: Array = np.zeros(3)
_STILL.flags.writeable = False


def lift(table: ImaginedTable, block: str) -> Motion:
    """Grasp a block and raise it, then hold it up."""
    grasp = _grasp(table, block)
    if grasp is not None:
        return grasp
    missing = _LIFTED_M - table.position[2]
    if missing < _POSITION_TOLERANCE_M:
        return Motion(_STILL, _STILL, 0.0)
    return Motion(np.array([0.0, 0.0, min(missing, MAX_TRANSLATION_M)]), _STILL, 0.0)


def stack(table: ImaginedTable, block: str, base: str) -> Motion:
    """Grasp a block, carry it over another, set it down, let go and rise clear of it."""
    carried, below = table.blocks[block], table.blocks[base]
    offset = below.position - carried.position
    miss = math.hypot(offset[0], offset[1])
    drop = -offset[2] - BLOCK_SIZE_M
    if miss < STACK_OFFSET_M and abs(drop) < REST_TOLERANCE_M:
        if table.opening < _LET_GO and table.position[2] - carried.position[2] < _RETREAT_M / 2:
            return Motion(_STILL, _STILL, 1.0)
        missing = carried.position[2] + _RETREAT_M - table.position[2]
        if missing < _POSITION_TOLERANCE_M:
            return Motion(_STILL, _STILL, 1.0)
        return Motion(np.array([0.0, 0.0, min(missing, MAX_TRANSLATION_M)]), _STILL, 1.0)
    grasp = _grasp(table, block)
    if grasp is not None:
        return grasp
    place = table.position + offset
    place[2] += BLOCK_SIZE_M
    # As it is turned: a carried block hides how the one below is.
    return _approach(table, place, table.yaw, 0.0, _CARRY_HOVER_M, wide_m=0.004, sink_m=_SET_DOWN_M)


def push(table: ImaginedTable, block: str, towards: Direction, start: Array) -> Motion:
    """Push a block with closed fingers from behind, then rise clear of it.

    :param towards: It is pushed to this direction's line, and far enough if it lay near the line or beyond.
    :param start: (3,) where the block lay when the task began.
    """
    pushed, direction = table.blocks[block], towards.vector
    axis = int(np.argmax(np.abs(direction)))
    touch = reach_along(pushed.yaw, axis)
    offset = table.position - pushed.position
    behind = -float(offset @ direction)
    aside = offset + behind * direction
    aside[2] = 0.0
    moved = pushed.position - start
    travelled = float(moved @ direction)
    drift = float(np.linalg.norm(moved[:2] - travelled * direction[:2]))
    enough = max(_PUSH_ENOUGH_M, towards.push_line_m - float(start @ direction))
    if travelled >= max(enough, drift + _PUSH_BEYOND_DRIFT_M):
        return _leave(table, behind - touch, direction)
    turn = _turn_to(table, 0.0)
    height = _PUSH_HEIGHT_M - table.position[2]
    in_place = -0.01 < behind - touch < 0.05 and np.linalg.norm(aside) < 0.012 and abs(height) < 0.012
    if in_place and table.opening < 0.2:
        aim = max(enough + _PUSH_FURTHER_M, drift + 2 * _PUSH_BEYOND_DRIFT_M)
        forward = min(aim - travelled + max(behind - touch, 0.0), MAX_TRANSLATION_M)
        step = forward * direction - 0.6 * aside + np.array([0.0, 0.0, height])
        return Motion(_clip(step, MAX_TRANSLATION_M), turn, 0.0)
    place = pushed.position - (touch + 0.015) * direction
    place[2] = _PUSH_HEIGHT_M
    return _approach(table, place, 0.0, 0.0, _HOVER_M, ready=table.opening < 0.2)


def _leave(table: ImaginedTable, gap: float, direction: Array) -> Motion:
    missing = _PUSH_HEIGHT_M + _HOVER_M - table.position[2]
    if missing < _POSITION_TOLERANCE_M:
        return Motion(_STILL, _STILL, 0.0)
    low = table.position[2] < _PUSH_HEIGHT_M + 0.02
    if low and gap < 0.006:
        return Motion((gap - 0.012) * direction, _STILL, 0.0)
    return Motion(np.array([0.0, 0.0, min(missing, MAX_TRANSLATION_M)]), _STILL, 0.0)


def _grasp(table: ImaginedTable, block: str) -> Motion | None:
    """Return the next motion towards holding a block, or None when it is held."""
    if table.holds(block):
        return None
    target = table.blocks[block]
    yaw = _grasp_yaw(table, block)
    miss = target.position - table.position
    closing = table.opening < _OPEN and table.between_fingers(block) and miss[2] < _TOO_LOW_M
    aligned = (
        math.hypot(miss[0], miss[1]) < 0.007
        and abs(miss[2]) < 0.007
        and np.linalg.norm(rotation_between(table.quaternion, gripper_down(yaw))) < 0.1
    )
    if closing or (aligned and table.opening >= _OPEN):
        return Motion(_STILL, _STILL, 0.0)
    # An arm lags behind what it is told, and so goes too far; on the table nothing comes of that.
    sink_m = _SET_DOWN_M if target.position[2] > BLOCK_SIZE_M else MAX_TRANSLATION_M
    return _approach(table, target.position, yaw, 1.0, _HOVER_M, sink_m=sink_m, ready=table.opening >= _OPEN)


def _grasp_yaw(table: ImaginedTable, block: str) -> float:
    """Choose the finger direction square to a block that costs the least.

    That is the one with the least turning, unless a finger would come down on another block.
    """
    square, now = table.blocks[block].yaw, table.yaw

    def cost(yaw: float) -> float:
        turning = abs(yaw - now) + (_TURN_TOO_FAR if abs(yaw) > _MAX_YAW_RAD else 0.0)
        return turning + (_FINGER_BLOCKED if _lands_on_another(table, block, yaw) else 0.0)

    return min((square + quarter * math.pi / 2 for quarter in (-1, 0, 1)), key=cost)


def _lands_on_another(table: ImaginedTable, block: str, yaw: float) -> bool:
    """Say whether an open finger going down beside a block would meet another."""
    target = table.blocks[block].position
    sine, cosine = math.sin(yaw), math.cos(yaw)
    finger = MAX_FINGER_TRAVEL_M + FINGER_THICKNESS_M / 2
    for name, other in table.blocks.items():
        x, y, z = other.position - target
        if name == block or z + BLOCK_SIZE_M < 0.0:
            continue
        across, aside = abs(y * cosine - x * sine), abs(x * cosine + y * sine)
        gap = math.hypot(
            max(abs(across - finger) - FINGER_THICKNESS_M / 2, 0.0), max(aside - FINGER_WIDTH_M / 2, 0.0)
        )
        if gap < _BLOCK_RADIUS_M:
            return True
    return False


def _approach(
    table: ImaginedTable,
    place: Array,
    yaw: float,
    gripper: float,
    hover_m: float,
    *,
    wide_m: float = 0.006,
    sink_m: float = MAX_TRANSLATION_M,
    ready: bool = True,
) -> Motion:
    """Go to a place through the funnel above it.

    :param place: (3,) where the end-effector point has to go.
    :param yaw: Turn of the gripper about the vertical to arrive with [rad].
    :param hover_m: Height above the place to keep while away from it.
    :param wide_m: Miss below which the gripper may go all the way down.
    :param sink_m: How far to go down in one step.
    :param ready: Whether the gripper is as it has to be to go down.
    """
    turn = rotation_between(table.quaternion, gripper_down(yaw))
    angle = float(np.linalg.norm(turn))
    miss = place - table.position
    distance = math.hypot(miss[0], miss[1])
    # A turn of one radian moves a block's corner about 3 cm.
    open_funnel = min(max((distance + 0.03 * angle - wide_m) / 0.03, 0.0), 1.0) if ready else 1.0
    climb = place[2] + hover_m * open_funnel - table.position[2]
    # Too low for this far away: first up, then across.
    across = min(max(1.0 - (climb - 0.015) / 0.03, 0.0), 1.0)
    step = np.array([miss[0] * across, miss[1] * across, max(climb, -sink_m)])
    if angle < _ROTATION_TOLERANCE_RAD / 2:
        turn = _STILL
    return Motion(_clip(step, MAX_TRANSLATION_M), _clip(turn, MAX_ROTATION_RAD), gripper)


def _turn_to(table: ImaginedTable, yaw: float) -> Array:
    turn = rotation_between(table.quaternion, gripper_down(yaw))
    if np.linalg.norm(turn) < _ROTATION_TOLERANCE_RAD:
        return _STILL
    return _clip(turn, MAX_ROTATION_RAD)


def _clip(vector: Array, longest: float) -> Array:
    length = float(np.linalg.norm(vector))
    return vector * (longest / length) if length > longest else vector
