"""Which topics make up a recording of one robot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dream_vla_ros.embodiment import Embodiment, StateSource

TF_TOPIC, TF_STATIC_TOPIC = "/tf", "/tf_static"
# What policy, controller and teleoperation say of themselves.
_DRIVING = (
    "active_goal",
    "action_chunk",
    "teleop/active_goal",
    "teleop/action_chunk",
    "end_effector_delta",
    "controller_state",
    "emergency_stop",
)
# A state that comes less often than this [Hz] cannot be interpolated by anyone's limits.
_STATE_RATE_HZ = 5.0
_SILENT_PERIODS = 5.0
_SILENT_S = 1.0


@dataclass(frozen=True)
class RecordedTopic:
    """A topic to record where it exists.

    :param name: As the robot's file has it, perhaps relative.
    :param camera: Whether it holds images of a camera.
    :param needed: Whether a recording without it makes no training set.
    :param rate_hz: Least rate to expect of a needed topic.
    :param latched: Whether its messages come once, and so belong into every bag.
    """

    name: str
    camera: bool = False
    needed: bool = False
    rate_hz: float = 0.0
    latched: bool = False

    @property
    def silent_after_s(self) -> float:
        """Silence that is worth a warning [s]."""
        return max(_SILENT_S, _SILENT_PERIODS / self.rate_hz) if self.rate_hz else float("inf")


def recorded_topics(embodiment: Embodiment, extra: Iterable[str] = ()) -> tuple[RecordedTopic, ...]:
    """List everything that the robot's file names, then what drives it, then what is wanted besides.

    :param extra: Names of further topics.
    """
    state, output, source = embodiment.state, embodiment.output, embodiment.state.source
    computed = source is StateSource.ROBOT_DESCRIPTION
    joints = computed or bool(state.finger_joints)
    wanted = [
        RecordedTopic(camera.topic, camera=True, needed=True, rate_hz=embodiment.timing.camera_rate / 2.0)
        for camera in embodiment.cameras
    ]
    wanted += [RecordedTopic(camera.info_topic) for camera in embodiment.cameras if camera.info_topic]
    by_topic = source is StateSource.POSE_TOPIC
    wanted += [
        RecordedTopic(state.pose_topic, needed=by_topic, rate_hz=_STATE_RATE_HZ if by_topic else 0.0),
        RecordedTopic(state.joint_states_topic, needed=joints, rate_hz=_STATE_RATE_HZ if joints else 0.0),
        RecordedTopic(state.robot_description_topic, needed=computed, latched=True),
        RecordedTopic(TF_TOPIC, needed=source is StateSource.TF),
        RecordedTopic(TF_STATIC_TOPIC, latched=True),
        RecordedTopic(output.target_pose_topic),
        RecordedTopic(output.gripper_topic),
    ]
    wanted += [RecordedTopic(name) for name in (*_DRIVING, *extra)]
    unique = {topic.name: topic for topic in reversed(wanted) if topic.name}
    return tuple(topic for topic in wanted if topic.name and unique[topic.name] is topic)
