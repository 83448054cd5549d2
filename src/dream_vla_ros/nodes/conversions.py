"""Messages to the dataclasses of the other rooms and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Pose as PoseMsg
from geometry_msgs.msg import PoseStamped, Transform, Vector3
from std_msgs.msg import Header
from unique_identifier_msgs.msg import UUID

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_msgs.msg import ActionStep
from dream_vla_ros.chunk import ActionChunk, InvalidChunkError
from dream_vla_ros.geometry import Array, Pose

NANOSECONDS = 1_000_000_000


def time_to_msg(nanoseconds: int) -> Time:
    """Write nanoseconds since the epoch as a time."""
    seconds, rest = divmod(int(nanoseconds), NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def time_from_msg(msg: Time) -> int:
    """Read a time as nanoseconds since the epoch."""
    return int(msg.sec) * NANOSECONDS + int(msg.nanosec)


def duration_to_msg(seconds: float) -> Duration:
    """Write seconds as a duration, rounded to nanoseconds."""
    whole, rest = divmod(round(seconds * NANOSECONDS), NANOSECONDS)
    return Duration(sec=whole, nanosec=rest)


def duration_from_msg(msg: Duration) -> float:
    """Read a duration in seconds."""
    return (int(msg.sec) * NANOSECONDS + int(msg.nanosec)) / NANOSECONDS


def uuid_to_msg(goal_id: bytes) -> UUID:
    """Write a goal id of 16 bytes."""
    return UUID(uuid=np.frombuffer(goal_id, dtype=np.uint8))


def uuid_from_msg(msg: UUID) -> bytes:
    """Read a goal id as 16 bytes."""
    return bytes(np.asarray(msg.uuid, dtype=np.uint8))


def vector_to_msg(vector: Sequence[float] | Array) -> Vector3:
    """Write three numbers."""
    x, y, z = (float(v) for v in vector)
    return Vector3(x=x, y=y, z=z)


def fill_vector(msg: Vector3, vector: Array) -> None:
    """Write three numbers into a message that is there already."""
    msg.x, msg.y, msg.z = vector.tolist()


def vector_from_msg(msg: Vector3) -> tuple[float, float, float]:
    """Read three numbers, finite or not."""
    return msg.x, msg.y, msg.z


def pose_to_msg(pose: Pose) -> PoseMsg:
    """Write a pose."""
    msg = PoseMsg()
    fill_pose(msg, pose)
    return msg


def fill_pose(msg: PoseMsg, pose: Pose) -> None:
    """Write a pose into a message that is there already."""
    msg.position.x, msg.position.y, msg.position.z = pose.position.tolist()
    orientation = msg.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = pose.quaternion.tolist()


def pose_from_msg(msg: PoseMsg) -> Pose:
    """Read a pose.

    :raises ValueError: If a number is not finite or the quaternion has no direction.
    """
    p, q = msg.position, msg.orientation
    return Pose(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))


def pose_from_transform(msg: Transform) -> Pose:
    """Read a transform as the pose of the child frame in its parent.

    :raises ValueError: If a number is not finite or the quaternion has no direction.
    """
    p, q = msg.translation, msg.rotation
    return Pose(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))


def pose_stamped(pose: Pose, stamp_ns: int, frame_id: str) -> PoseStamped:
    """Write a pose with its stamp and the frame it is expressed in."""
    return PoseStamped(header=Header(stamp=time_to_msg(stamp_ns), frame_id=frame_id), pose=pose_to_msg(pose))


def chunk_to_msg(
    chunk: ActionChunk,
    *,
    frame_id: str,
    instruction: str = "",
    latency_s: float = 0.0,
    model: str = "",
    objective: str = "",
) -> ActionChunkMsg:
    """Write an action chunk.

    :param frame_id: The robot's base frame, in whose axes the steps are expressed.
    :param latency_s: Capture of the oldest image to publication.
    :param model: Checkpoint or other source the chunk comes from.
    :param objective: Its objective, or ``scripted``.
    """
    msg = ActionChunkMsg(
        header=Header(stamp=time_to_msg(chunk.stamp_ns), frame_id=frame_id),
        chunk_id=chunk.chunk_id,
        goal_id=uuid_to_msg(chunk.goal_id),
        period=duration_to_msg(chunk.period_s),
        instruction=instruction,
        latency=duration_to_msg(latency_s),
        model=model,
        objective=objective,
    )
    msg.steps = [
        ActionStep(translation=vector_to_msg(t), rotation=vector_to_msg(r), gripper=float(g))
        for t, r, g in zip(chunk.translation, chunk.rotation, chunk.gripper, strict=True)
    ]
    return msg


def chunk_from_msg(msg: ActionChunkMsg, base_frame: str | None = None) -> ActionChunk:
    """Read an action chunk.

    :param base_frame: Frame the steps must be expressed in; None accepts any.
    :raises InvalidChunkError: If it has no steps, a number is not finite or it is expressed in another frame.
    """
    frame_id = msg.header.frame_id
    if base_frame is not None and frame_id != base_frame:
        raise InvalidChunkError(f"chunk is expressed in frame '{frame_id}', not in '{base_frame}'")
    return ActionChunk(
        translation=np.array([vector_from_msg(s.translation) for s in msg.steps]).reshape(-1, 3),
        rotation=np.array([vector_from_msg(s.rotation) for s in msg.steps]).reshape(-1, 3),
        gripper=np.array([s.gripper for s in msg.steps]),
        period_s=duration_from_msg(msg.period),
        stamp_ns=time_from_msg(msg.header.stamp),
        goal_id=uuid_from_msg(msg.goal_id),
        chunk_id=int(msg.chunk_id),
    )
