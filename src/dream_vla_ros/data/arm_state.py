"""The measured state of the arm over a whole recording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dream_vla_ros.data.errors import BagError, DataError
from dream_vla_ros.data.recording import Recording
from dream_vla_ros.embodiment import StateSource
from dream_vla_ros.geometry import Pose, normalize_quaternion
from dream_vla_ros.kinematics import ForwardKinematics, KinematicsError
from dream_vla_ros.series import Bool, Int64, Poses, Values

POSE_TYPES = ("geometry_msgs/msg/PoseStamped",)
_JOINT_TYPES = ("sensor_msgs/msg/JointState",)
_TF_TYPES = ("tf2_msgs/msg/TFMessage",)
_NS_PER_S = 1_000_000_000
# A few poses in another frame are damage; more than this share means that the robot's file names a wrong one.
_ODD_SHARE = 0.05


class PoseSource(Protocol):
    """Where the end effector was at any time."""

    @property
    def range_ns(self) -> tuple[int, int]:
        """First and last time it is known at."""

    def at(self, times_ns: Int64, max_gap_ns: int) -> tuple[Poses, Bool]:
        """Interpolate; says for which times that was possible."""


@dataclass(frozen=True, eq=False)
class ArmState:
    """State of the arm over time.

    :param poses: End effector in the base frame.
    :param joints: Joint names to positions (samples, 1), rad or m.
    """

    poses: PoseSource
    joints: Mapping[str, Values]

    def joints_at(self, times_ns: Int64, names: Iterable[str], max_gap_ns: int) -> tuple[Any, Bool]:
        """Interpolate joint positions.

        :returns: (times, names) positions, and for which times all are known.
        """
        columns, valid = [], np.ones(len(times_ns), dtype=bool)
        for name in names:
            values, known = self.joints[name].at(times_ns, max_gap_ns)
            columns.append(values[:, 0])
            valid &= known
        stacked = np.stack(columns, axis=1) if columns else np.zeros((len(times_ns), 0))
        return stacked, valid


@dataclass(frozen=True, eq=False)
class PoseTopic:
    """Poses as a topic gave them."""

    poses: Poses

    @property
    def range_ns(self) -> tuple[int, int]:
        """First and last time it is known at."""
        return int(self.poses.stamps_ns[0]), int(self.poses.stamps_ns[-1])

    def at(self, times_ns: Int64, max_gap_ns: int) -> tuple[Poses, Bool]:
        """Interpolate."""
        return self.poses.at(times_ns, max_gap_ns)


@dataclass(frozen=True, eq=False)
class JointPoses:
    """Poses computed from joint positions."""

    joints: Mapping[str, Values]
    chain: ForwardKinematics

    @property
    def range_ns(self) -> tuple[int, int]:
        """First and last time it is known at."""
        used = [self.joints[name].stamps_ns for name in self.chain.joint_names]
        return max(int(stamps[0]) for stamps in used), min(int(stamps[-1]) for stamps in used)

    def at(self, times_ns: Int64, max_gap_ns: int) -> tuple[Poses, Bool]:
        """Interpolate the joints and follow the chain."""
        names = self.chain.joint_names
        values = {name: self.joints[name].at(times_ns, max_gap_ns) for name in names}
        valid = np.all([known for _, known in values.values()], axis=0)
        poses = [
            self.chain.pose({name: float(values[name][0][row, 0]) for name in names})
            for row in range(len(times_ns))
        ]
        return _stack(times_ns, poses), valid


@dataclass(frozen=True, eq=False)
class TransformPoses:
    """Poses chained from tf.

    :param links: From the base outwards: each frame's pose in the one before, over time or fixed.
    """

    links: tuple[Poses | Pose, ...]

    @property
    def range_ns(self) -> tuple[int, int]:
        """First and last time it is known at."""
        moving = [link.stamps_ns for link in self.links if isinstance(link, Poses)]
        return max(int(stamps[0]) for stamps in moving), min(int(stamps[-1]) for stamps in moving)

    def at(self, times_ns: Int64, max_gap_ns: int) -> tuple[Poses, Bool]:
        """Interpolate every link and chain them."""
        valid = np.ones(len(times_ns), dtype=bool)
        poses = [Pose.identity()] * len(times_ns)
        for link in self.links:
            if isinstance(link, Pose):
                poses = [pose.compose(link) for pose in poses]
                continue
            placed, known = link.at(times_ns, max_gap_ns)
            valid &= known
            poses = [pose.compose(placed[row]) for row, pose in enumerate(poses)]
        return _stack(times_ns, poses), valid


def read_arm_state(recording: Recording, urdf: str = "") -> ArmState:
    """Read where the arm was.

    :param urdf: Robot description to use where the bag holds none.
    :raises DataError: Naming the topic, joint or frame that is missing.
    """
    named = recording.embodiment.state
    joints: dict[str, Values] = {}
    computed = named.source is StateSource.ROBOT_DESCRIPTION
    if named.finger_joints or computed:
        finder = recording.find if computed else recording.maybe
        if topic := finder(named.joint_states_topic, _JOINT_TYPES, "joint states"):
            joints = read_joints(recording, topic)
    for name in named.finger_joints:
        if name not in joints:
            raise DataError(
                f"{recording.bag.path}: no position of finger joint '{name}' on '{named.joint_states_topic}' "
                f"(parameter state.finger_joints); there are {', '.join(sorted(joints)) or 'no joints'}"
            )
    if named.source is StateSource.POSE_TOPIC:
        topic = recording.find(named.pose_topic, POSE_TYPES, "the end effector's pose")
        return ArmState(PoseTopic(read_poses(recording, topic)), joints)
    if computed:
        return ArmState(_joint_poses(recording, joints, urdf), joints)
    return ArmState(_transform_poses(recording), joints)


def read_poses(recording: Recording, topic: str) -> Poses:
    """Read a topic of poses in the base frame.

    :raises DataError: If they are in another frame, or none is usable.
    """
    base = recording.embodiment.frames.base
    rows, bad, elsewhere = [], 0, []
    for stamp, message in recording.stamped(topic):
        frame = message.header.frame_id.lstrip("/")
        if frame and frame != base.lstrip("/"):
            elsewhere.append(frame)
            continue
        try:
            rows.append((stamp, _pose(message.pose.position, message.pose.orientation)))
        except ValueError:
            bad += 1
    if len(elsewhere) > _ODD_SHARE * (len(rows) + bad + len(elsewhere)):
        raise DataError(
            f"{recording.bag.path}: {topic} is in frame '{elsewhere[0]}', but parameter frames.base is "
            f"'{base}'"
        )
    if elsewhere:
        recording.notes.append(f"{topic}: {len(elsewhere)} poses left out that are in frame '{elsewhere[0]}'")
    if bad:
        recording.notes.append(f"{topic}: {bad} messages left out that are no poses")
    if not rows:
        raise BagError(f"{recording.bag.path}: {topic} holds no usable pose")
    return _stack(np.array([stamp for stamp, _ in rows], dtype=np.int64), [pose for _, pose in rows])


def read_joints(recording: Recording, topic: str) -> dict[str, Values]:
    """Read the positions of all joints; several drivers may share the topic."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for stamp, message in recording.stamped(topic):
        for name, position in zip(message.name, message.position, strict=False):
            if np.isfinite(position):
                stamps, positions = found.setdefault(name, ([], []))
                stamps.append(stamp)
                positions.append(float(position))
    return {
        name: Values(np.array(stamps, dtype=np.int64), np.array(positions)[:, None])
        for name, (stamps, positions) in found.items()
    }


def _joint_poses(recording: Recording, joints: Mapping[str, Values], urdf: str) -> JointPoses:
    named, frames = recording.embodiment.state, recording.embodiment.frames
    topic = recording.maybe(named.robot_description_topic, ("std_msgs/msg/String",), "the robot description")
    if topic:
        urdf = recording.only_message(topic).data
    if not urdf:
        raise DataError(
            f"{recording.bag.path}: the pose is computed from the robot description, but "
            f"'{named.robot_description_topic}' was not recorded; pass the file with --urdf"
        )
    chain = _chain(recording, urdf, frames.base, frames.end_effector)
    missing = [name for name in chain.joint_names if name not in joints]
    if missing:
        raise DataError(
            f"{recording.bag.path}: '{named.joint_states_topic}' has no position of {', '.join(missing)}"
        )
    return JointPoses(joints, chain)


def _chain(recording: Recording, urdf: str, base: str, tip: str) -> ForwardKinematics:
    """Read the chain; drivers may prefix frames with the robot's name where the description does not."""
    try:
        return ForwardKinematics.from_urdf(urdf, base, tip)
    except KinematicsError as error:
        bare = base.split("/")[-1], tip.split("/")[-1]
        if bare == (base, tip):
            raise DataError(f"{recording.bag.path}: {error}") from error
        try:
            return ForwardKinematics.from_urdf(urdf, *bare)
        except KinematicsError:
            raise DataError(f"{recording.bag.path}: {error}") from error


def _transform_poses(recording: Recording) -> TransformPoses:
    frames = recording.embodiment.frames
    moving: dict[str, tuple[str, list[tuple[int, Pose]]]] = {}
    fixed: dict[str, tuple[str, Pose]] = {}
    offset_ns = 0
    for name in ("/tf_static", "/tf"):
        topic = recording.maybe(name, _TF_TYPES, "transforms")
        if topic is None:
            continue
        offset_ns = round(recording.clock_offsets_s.get(topic, 0.0) * _NS_PER_S)
        for _, message in recording.bag.messages(topic):
            for one in message.transforms:
                parent, child = one.header.frame_id.lstrip("/"), one.child_frame_id.lstrip("/")
                try:
                    pose = _pose(one.transform.translation, one.transform.rotation)
                except ValueError:
                    continue
                if name == "/tf_static":
                    fixed[child] = (parent, pose)
                    continue
                stamp = one.header.stamp.sec * _NS_PER_S + one.header.stamp.nanosec + offset_ns
                moving.setdefault(child, (parent, []))[1].append((stamp, pose))
    links: list[Poses | Pose] = []
    frame, base = frames.end_effector.lstrip("/"), frames.base.lstrip("/")
    visited: set[str] = set()
    while frame != base:
        if frame in visited or frame not in moving | fixed:
            raise DataError(
                f"{recording.bag.path}: tf does not lead from '{base}' to '{frames.end_effector}': nothing "
                f"tells where '{frame}' is (parameters frames.base and frames.end_effector)"
            )
        visited.add(frame)
        if frame in moving:
            parent, samples = moving[frame]
            by_stamp = dict(samples)
            stamps = np.array(sorted(by_stamp), dtype=np.int64)
            links.append(_stack(stamps, [by_stamp[stamp] for stamp in stamps.tolist()]))
        else:
            parent, pose = fixed[frame]
            links.append(pose)
        frame = parent
    if not any(isinstance(link, Poses) for link in links):
        raise DataError(
            f"{recording.bag.path}: no transform between '{base}' and the end effector ever moves"
        )
    return TransformPoses(tuple(reversed(links)))


def _pose(position: Any, quaternion: Any) -> Pose:
    return Pose(
        np.array([position.x, position.y, position.z]),
        normalize_quaternion([quaternion.x, quaternion.y, quaternion.z, quaternion.w]),
    )


def _stack(stamps_ns: npt.NDArray[np.int64], poses: list[Pose]) -> Poses:
    return Poses(
        stamps_ns,
        np.array([pose.position for pose in poses]).reshape(-1, 3),
        np.array([pose.quaternion for pose in poses]).reshape(-1, 4),
    )
