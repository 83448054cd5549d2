"""End-effector pose from tf, where the distribution has tf2_ros."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.time import Time

from dream_vla_ros.embodiment import Frames
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.conversions import pose_from_transform, time_from_msg
from dream_vla_ros.parameters import ParameterError


class TransformSource:
    """Newest transform from base to end effector.

    :raises ParameterError: If tf2_ros cannot be imported; the message says what to install.
    """

    def __init__(self, node: Node, frames: Frames) -> None:
        tf2_ros = _import_tf2_ros()
        self._frames = frames
        self._error: type[Exception] = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)
        self.problem = ""

    def latest(self) -> tuple[Pose, int] | None:
        """Return pose and stamp [ns, ROS time]; None while there is none, ``problem`` says why.

        :raises ValueError: If the transform is not finite.
        """
        try:
            found = self._buffer.lookup_transform(self._frames.base, self._frames.end_effector, Time())
        except self._error as error:
            self.problem = f"tf: {error}"
            return None
        return pose_from_transform(found.transform), time_from_msg(found.header.stamp)

    def at(self, stamp_ns: int) -> Pose | None:
        """Return the pose at a moment, every link interpolated; None where it is not known then.

        :raises ValueError: If the transform is not finite.
        """
        try:
            found = self._buffer.lookup_transform(
                self._frames.base, self._frames.end_effector, Time(nanoseconds=stamp_ns)
            )
        except self._error as error:
            self.problem = f"tf: {error}"
            return None
        return pose_from_transform(found.transform)


def _import_tf2_ros() -> Any:
    try:
        import tf2_ros
    except ImportError as error:
        raise ParameterError(
            "state.source is tf, but tf2_ros cannot be imported: install ros-$ROS_DISTRO-tf2-ros and source "
            "the distribution, or set state.source to pose_topic or robot_description"
        ) from error
    return tf2_ros
