"""What the controller decides at one tick, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from dream_vla_ros.geometry import Array, Pose

NO_GOAL = bytes(16)


class Mode(IntEnum):
    """What the controller is doing; numbers as in ``ControllerState``."""

    IDLE = 0
    EXECUTING = 1
    HOLDING = 2
    STOPPED = 3
    NO_STATE = 4


class Cause(IntEnum):
    """Why the arm is not executing, or what was limited or refused last.

    Numbers are those of ``ControllerState``.
    """

    NONE = 0
    EMERGENCY_STOP = 1
    NO_GOAL = 2
    WAITING_FOR_CHUNK = 3
    CHUNK_EXHAUSTED = 4
    POLICY_LOST = 5
    STATE_STALE = 6
    STATE_INVALID = 7
    CHUNK_INVALID = 8
    CHUNK_LATE = 9
    CHUNK_FUTURE = 10
    CHUNK_WRONG_GOAL = 11
    CHUNK_OUT_OF_ORDER = 12
    LEASH = 13
    WORKSPACE = 14
    ADAPTER = 15
    CLOCK_JUMP = 16
    FAULT = 17
    ORIENTATION = 18
    DEAD_MAN = 19
    TAKEN_OVER = 20


@dataclass(frozen=True)
class Reason:
    """A cause and the figures that decided it.

    :param message: In words; empty for ``Cause.NONE``.
    """

    cause: Cause
    message: str = ""


@dataclass(frozen=True)
class Counters:
    """What happened since the active goal began; kept until the next begins.

    :param executed_s: Action time executed.
    :param idle_before_first_chunk_s: Time with the goal active but no motion due, before its first chunk.
    :param idle_s: The same after the first chunk.
    """

    chunks_accepted: int = 0
    chunks_refused: int = 0
    executed_s: float = 0.0
    idle_before_first_chunk_s: float = 0.0
    idle_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Command:
    """One tick's command and the state behind it. Everything is in the base frame.

    :param stamp_ns: Time of the tick, ROS time.
    :param send: Whether the arm's driver is to be told. False while there is no usable state, and while the
        arm rests without a goal, so that others may move it.
    :param target: Pose to be reached at the end of this tick; None before the first measured state.
    :param linear: (3,) m/s of the end-effector point over this tick.
    :param angular: (3,) rad/s.
    :param duration_s: Length of the tick.
    :param gripper: Opening commanded, 1 = open; None before the first one.
    :param goal_id: Goal being executed; zeros when none.
    :param chunk_id: Chunk being executed; 0 when none.
    :param step: Step of that chunk.
    :param measured: Newest measured pose; None when none was received.
    :param measured_age_s: Its age; NaN when none was received.
    :param position_error: Distance from measured to target [m]; NaN without both.
    :param rotation_error: Angle between them [rad]; NaN without both.
    :param taken_over: Whether a human has the arm.
    :param gripper_changed: Whether the gripper is told something new at this tick: the edge on which
        action-based grippers act.
    :param gripper_held_back: Whether the chunk asks for another gripper state than the rules let it have yet.
    """

    stamp_ns: int
    mode: Mode
    reason: Reason
    send: bool
    target: Pose | None
    linear: Array
    angular: Array
    duration_s: float
    gripper: float | None
    goal_id: bytes
    chunk_id: int
    step: int
    measured: Pose | None
    measured_age_s: float
    position_error: float
    rotation_error: float
    counters: Counters
    taken_over: bool = False
    speed_limited: bool = False
    workspace_limited: bool = False
    leash_limited: bool = False
    orientation_limited: bool = False
    gripper_changed: bool = False
    gripper_held_back: bool = False

    @property
    def translation(self) -> Array:
        """Motion of the end-effector point over this tick, (3,) m."""
        return self.linear * self.duration_s

    @property
    def rotation(self) -> Array:
        """Rotation over this tick, (3,) rotation vector in rad."""
        return self.angular * self.duration_s
