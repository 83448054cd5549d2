"""The parts an embodiment is made of, each a group of parameters of ``config/<robot>.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import pi

import numpy as np

from dream_vla_ros.geometry import quaternion_from_matrix
from dream_vla_ros.parameters import ParameterError, param


class ImageTransport(str, Enum):
    """How a camera's images travel."""

    RAW = "raw"
    COMPRESSED = "compressed"


class StateSource(str, Enum):
    """Where the measured end-effector pose comes from."""

    POSE_TOPIC = "pose_topic"
    ROBOT_DESCRIPTION = "robot_description"
    TF = "tf"


class RotationConvention(str, Enum):
    """What the model's three rotation numbers mean."""

    ROTATION_VECTOR = "rotation_vector"
    """Axis times angle in the base axes (LIBERO, and data recorded with this package)."""
    EULER_DIFFERENCE = "euler_difference"
    """Difference of the roll, pitch, yaw of two orientations (Bridge)."""
    RPY_ROTATION = "rpy_rotation"
    """Roll, pitch, yaw of the rotation itself, about the base axes (Fractal)."""


class ProprioLayout(str, Enum):
    """What the robot tells the model about its own state."""

    NONE = "none"
    XYZ_RPY_GRIPPER = "xyz_rpy_gripper"
    """Position [m], roll, pitch, yaw [rad], gripper opening 0..1: 7 numbers (Bridge)."""
    XYZ_AXIS_ANGLE_FINGERS = "xyz_axis_angle_fingers"
    """Position [m], rotation vector [rad], two finger joints [m]: 8 numbers (LIBERO)."""

    @property
    def size(self) -> int:
        """How many numbers the layout has."""
        return {"none": 0, "xyz_rpy_gripper": 7, "xyz_axis_angle_fingers": 8}[self.value]


@dataclass(frozen=True)
class Frames:
    """Names of the frames everything is expressed in."""

    base: str = param(
        "base_link", "Frame of the robot's base; poses, motions and the workspace are in its axes."
    )
    end_effector: str = param("ee_link", "Frame at the end-effector point that deltas move.")


@dataclass(frozen=True)
class Camera:
    """One camera the model sees."""

    name: str
    topic: str = param(
        "", "Topic of the images: sensor_msgs/Image, or CompressedImage for compressed transport."
    )
    transport: ImageTransport = param(ImageTransport.RAW, "raw or compressed.")
    info_topic: str = param("", "Topic of the sensor_msgs/CameraInfo; empty where there is none.")
    rotate_180: bool = param(False, "Turn images by 180 degrees, as LIBERO's training images are.")

    def __post_init__(self) -> None:
        if not self.topic:
            raise ParameterError(
                f"parameter 'cameras.{self.name}.topic' is missing: name the camera's image topic"
            )


@dataclass(frozen=True)
class State:
    """Where the robot's measured state comes from."""

    source: StateSource = param(
        StateSource.POSE_TOPIC,
        "pose_topic; robot_description (forward kinematics of joint states); or tf.",
    )
    pose_topic: str = param("ee_pose", "geometry_msgs/PoseStamped of the end effector in the base frame.")
    joint_states_topic: str = param("joint_states", "sensor_msgs/JointState with arm and finger joints.")
    robot_description_topic: str = param("robot_description", "std_msgs/String with the URDF, latched.")
    finger_joints: tuple[str, ...] = param((), "Joints of the fingers, in the order the proprio wants them.")
    finger_closed: tuple[float, ...] = param((), "Position of each finger joint when closed [m or rad].")
    finger_open: tuple[float, ...] = param((), "Position of each finger joint when open [m or rad].")

    def __post_init__(self) -> None:
        count = len(self.finger_joints)
        if len(self.finger_open) != count or len(self.finger_closed) != count:
            raise ParameterError(
                f"finger_joints names {count} joints, but finger_open has {len(self.finger_open)} and "
                f"finger_closed {len(self.finger_closed)} values"
            )
        for name, opened, closed in zip(
            self.finger_joints, self.finger_open, self.finger_closed, strict=True
        ):
            if opened == closed:
                raise ParameterError(f"finger_open and finger_closed of joint '{name}' are both {opened}")


@dataclass(frozen=True)
class ActionSpace:
    """What the model's seven action numbers mean on this robot."""

    rate: float = param(5.0, "Actions per second the model was trained at [Hz].", minimum=0.1, maximum=200.0)
    chunk_size: int = param(8, "Actions the model predicts at once.", minimum=1, maximum=256)
    unnorm_key: str = param(
        "", "Key of the checkpoint's dataset_statistics.json; empty where it has only one."
    )
    translation_scale: float = param(
        1.0, "Metres that one unit of translation stands for (LIBERO's OSC: 0.05).", minimum=1e-6
    )
    rotation_scale: float = param(
        1.0, "Radians that one unit of rotation stands for (LIBERO's OSC: 0.5).", minimum=1e-6
    )
    achieved_fraction: float = param(
        1.0,
        "Share of a commanded motion the training robot achieved within a period (LIBERO's OSC: about 0.27).",
        minimum=0.01,
        maximum=1.0,
    )
    rotation: RotationConvention = param(
        RotationConvention.ROTATION_VECTOR, "Meaning of the rotation numbers."
    )
    gripper_open: float = param(1.0, "The model's gripper number for open.")
    gripper_closed: float = param(0.0, "The model's gripper number for closed.")

    def __post_init__(self) -> None:
        if self.gripper_open == self.gripper_closed:
            raise ParameterError(
                f"action.gripper_open and action.gripper_closed are both {self.gripper_open}"
            )

    @property
    def period_s(self) -> float:
        """Time one action takes."""
        return 1.0 / self.rate


@dataclass(frozen=True)
class Proprio:
    """How the measured state is written for the model."""

    layout: ProprioLayout = param(ProprioLayout.NONE, "Numbers given to the model; none gives no proprio.")
    reference_rotation: tuple[float, ...] = param(
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        "Rotation matrix D, row by row; Euler angles are those of R * D^T (Bridge's default rotation).",
    )

    def __post_init__(self) -> None:
        matrix = np.array(self.reference_rotation)
        if matrix.size != 9:
            raise ParameterError(f"proprio.reference_rotation has {matrix.size} numbers, not 9")
        matrix = matrix.reshape(3, 3)
        if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-6) or np.linalg.det(matrix) < 0.0:
            raise ParameterError("proprio.reference_rotation is not a rotation matrix")

    @property
    def reference_quaternion(self) -> np.ndarray:
        """Reference rotation D as (4,) x, y, z, w."""
        return quaternion_from_matrix(np.array(self.reference_rotation).reshape(3, 3))


@dataclass(frozen=True)
class Limits:
    """How fast and where the end effector may go; the controller never commands beyond these."""

    linear_speed: float = param(
        0.2, "Largest speed of the end-effector point [m/s].", minimum=0.001, maximum=2.0
    )
    angular_speed: float = param(1.0, "Largest rotation speed [rad/s].", minimum=0.001, maximum=6.0)
    linear_acceleration: float = param(2.0, "Largest acceleration [m/s^2].", minimum=0.01, maximum=50.0)
    angular_acceleration: float = param(
        10.0, "Largest angular acceleration [rad/s^2].", minimum=0.01, maximum=200.0
    )
    linear_jerk: float = param(
        80.0,
        "Largest change of acceleration [m/s^3]; a very large value sets no limit.",
        minimum=0.1,
        maximum=1e9,
    )
    angular_jerk: float = param(
        400.0, "Largest change of angular acceleration [rad/s^3].", minimum=0.1, maximum=1e9
    )
    workspace_min: tuple[float, ...] = param(
        (0.1, -0.4, 0.02), "Lower corner of the allowed box, base frame [m]."
    )
    workspace_max: tuple[float, ...] = param(
        (0.6, 0.4, 0.5), "Upper corner of the allowed box, base frame [m]."
    )
    tool_axis: tuple[float, ...] = param(
        (1.0, 0.0, 0.0), "Direction in the end effector's axes that must stay within the orientation cone."
    )
    cone_axis: tuple[float, ...] = param((0.0, 0.0, -1.0), "Middle of the orientation cone, base axes.")
    cone_angle: float = param(
        pi,
        "Largest angle between the two [rad]; pi allows every orientation.",
        minimum=0.01,
        maximum=pi,
    )
    leash_distance: float = param(
        0.05, "How far the target may run ahead of the measured position [m].", minimum=0.001, maximum=0.5
    )
    leash_angle: float = param(
        0.3, "How far the target may run ahead of the measured orientation [rad].", minimum=0.01, maximum=3.0
    )

    def __post_init__(self) -> None:
        if len(self.workspace_min) != 3 or len(self.workspace_max) != 3:
            raise ParameterError(
                "limits.workspace_min and limits.workspace_max take three numbers each: x, y, z"
            )
        for name, direction in (("tool_axis", self.tool_axis), ("cone_axis", self.cone_axis)):
            if len(direction) != 3 or np.linalg.norm(direction) < 1e-6:
                raise ParameterError(f"limits.{name} must be a direction of three numbers, not {direction}")
        for axis, low, high in zip("xyz", self.workspace_min, self.workspace_max, strict=True):
            if low >= high:
                raise ParameterError(
                    f"limits.workspace_min {axis} = {low} is not below limits.workspace_max {high}"
                )


class GripperMode(str, Enum):
    """How the openings that chunks ask for become commands."""

    CONTINUOUS = "continuous"
    """As they come, within 0..1."""
    TWO_STATES = "two_states"
    """Open or closed, with hysteresis and dwell."""


@dataclass(frozen=True)
class GripperRules:
    """When the gripper is told something else. Openings are 1 = open, 0 = closed on every robot."""

    mode: GripperMode = param(
        GripperMode.TWO_STATES, "two_states (open or closed, with hysteresis) or continuous."
    )
    open_above: float = param(0.6, "Openings from here on ask for an open gripper.", minimum=0.0, maximum=1.0)
    close_below: float = param(
        0.4,
        "Openings up to here ask for a closed gripper; between the two nothing changes.",
        minimum=0.0,
        maximum=1.0,
    )
    dwell: float = param(
        0.06, "Time a new state must be asked for before it is commanded [s].", minimum=0.0, maximum=5.0
    )
    sticky: float = param(
        0.0,
        "Time a state is kept after it was commanded, whatever is asked for [s].",
        minimum=0.0,
        maximum=30.0,
    )

    def __post_init__(self) -> None:
        if self.close_below >= self.open_above:
            raise ParameterError(
                f"gripper.close_below {self.close_below} is not below gripper.open_above {self.open_above}"
            )


@dataclass(frozen=True)
class Timing:
    """Rates, and how old or late anything may be before it counts as missing."""

    control_rate: float = param(50.0, "Commands per second [Hz].", minimum=5.0, maximum=1000.0)
    camera_rate: float = param(
        15.0, "Images per second expected from each camera [Hz].", minimum=0.5, maximum=240.0
    )
    image_max_age: float = param(0.5, "Oldest image to predict from [s].", minimum=0.01, maximum=10.0)
    camera_max_skew: float = param(
        0.1, "Largest difference between the stamps of the cameras' images [s].", minimum=0.001, maximum=2.0
    )
    state_max_age: float = param(
        0.2, "Oldest measured state to predict from or to steer by [s].", minimum=0.01, maximum=5.0
    )
    input_timeout: float = param(
        3.0,
        "How long a goal waits for fresh images and state before it ends [s].",
        minimum=0.1,
        maximum=120.0,
    )
    policy_timeout: float = param(
        0.3, "Silence of the policy after which the controller holds the arm [s].", minimum=0.05, maximum=10.0
    )
    chunk_max_age: float = param(
        2.0, "Oldest capture stamp of a chunk that is still executed [s].", minimum=0.05, maximum=30.0
    )
    clock_tolerance: float = param(
        0.05, "How far a stamp may lie in the future before it is refused [s].", minimum=0.0, maximum=1.0
    )
