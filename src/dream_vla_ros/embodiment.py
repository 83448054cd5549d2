"""What one robot is: its frames, cameras, state, action space, rates and limits.

An :class:`Embodiment` is read from ``config/<robot>.yaml``, a standard ROS parameter file whose ``/**``
section all nodes share. Policy, controller, recorder, dataset conversion and simulation read this one
description, so what a checkpoint was trained on and what the arm does cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from dream_vla_ros.geometry import quaternion_from_matrix
from dream_vla_ros.parameters import (
    ParameterError,
    ParameterSpec,
    build,
    check,
    param,
    read_file,
    refuse_unknown,
    specs,
)


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


class Adapter(str, Enum):
    """How motion commands reach the robot's own driver."""

    DELTA = "delta"
    """Only ``EndEffectorDelta``; the robot's driver subscribes to it."""
    TARGET_POSE = "target_pose"
    """``PoseStamped`` target for a Cartesian controller, and the gripper as ``Float64MultiArray``."""


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
    workspace_min: tuple[float, ...] = param(
        (0.1, -0.4, 0.02), "Lower corner of the allowed box, base frame [m]."
    )
    workspace_max: tuple[float, ...] = param(
        (0.6, 0.4, 0.5), "Upper corner of the allowed box, base frame [m]."
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
        for axis, low, high in zip("xyz", self.workspace_min, self.workspace_max, strict=True):
            if low >= high:
                raise ParameterError(
                    f"limits.workspace_min {axis} = {low} is not below limits.workspace_max {high}"
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
        0.5, "Silence of the policy after which the controller holds the arm [s].", minimum=0.05, maximum=10.0
    )
    chunk_max_age: float = param(
        2.0, "Oldest capture stamp of a chunk that is still executed [s].", minimum=0.05, maximum=30.0
    )
    clock_tolerance: float = param(
        0.05, "How far a stamp may lie in the future before it is refused [s].", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class Output:
    """Where commands go."""

    adapter: Adapter = param(Adapter.DELTA, "How motion reaches the robot's driver.")
    target_pose_topic: str = param("target_pose", "geometry_msgs/PoseStamped for the target_pose adapter.")
    gripper_topic: str = param("gripper_command", "std_msgs/Float64MultiArray, 0 closed to 1 open.")


_SECTIONS: dict[str, type] = {
    "frames": Frames,
    "state": State,
    "action": ActionSpace,
    "proprio": Proprio,
    "limits": Limits,
    "timing": Timing,
    "output": Output,
}
_ROBOT = ParameterSpec("robot", "str", "", "Name of the robot, for logs and datasets.")
_CAMERA_NAMES = ParameterSpec(
    "cameras.names",
    "list[str]",
    [],
    "Cameras in the order the model sees them: third person first, then wrist.",
)
# Parameters every ROS node has of itself; a shared section may set them.
_ROS_PARAMETERS = {"use_sim_time", "start_type_description_service"}


@dataclass(frozen=True)
class Embodiment:
    """One robot as policy, controller, recorder, dataset conversion and simulation see it.

    :raises ParameterError: If the parts do not fit together; the message names the parameter.
    """

    robot: str
    cameras: tuple[Camera, ...]
    frames: Frames
    state: State
    action: ActionSpace
    proprio: Proprio
    limits: Limits
    timing: Timing
    output: Output

    def __post_init__(self) -> None:
        if not self.robot:
            raise ParameterError("parameter 'robot' is missing: pass config/<robot>.yaml as parameter file")
        if not self.cameras:
            raise ParameterError("parameter 'cameras.names' is empty: name at least one camera")
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise ParameterError(f"parameter 'cameras.names' names a camera twice: {', '.join(names)}")
        layout = self.proprio.layout
        if layout is ProprioLayout.XYZ_AXIS_ANGLE_FINGERS and len(self.state.finger_joints) != 2:
            raise ParameterError(
                f"proprio.layout {layout.value} needs two state.finger_joints, "
                f"not {len(self.state.finger_joints)}"
            )
        if layout is ProprioLayout.XYZ_RPY_GRIPPER and not self.state.finger_joints:
            raise ParameterError(f"proprio.layout {layout.value} needs state.finger_joints")
        if self.timing.control_rate < self.action.rate:
            raise ParameterError(
                f"timing.control_rate {self.timing.control_rate} Hz is below "
                f"action.rate {self.action.rate} Hz"
            )

    @classmethod
    def from_parameters(cls, values: Mapping[str, Any], source: str = "parameters") -> Embodiment:
        """Build from flat dotted parameters.

        :param values: Names such as ``limits.linear_speed`` to values.
        :param source: File or node the values come from, for messages.
        :raises ParameterError: Naming source, parameter and what is allowed.
        """
        try:
            refuse_unknown(values, {spec.name for spec in parameter_specs(values)} | _ROS_PARAMETERS, source)
            names = check(_CAMERA_NAMES, values.get(_CAMERA_NAMES.name, _CAMERA_NAMES.default))
            cameras = tuple(_build_camera(name, values) for name in names)
            sections: dict[str, Any] = {
                name: build(section, values, f"{name}.") for name, section in _SECTIONS.items()
            }
            return cls(robot=check(_ROBOT, values.get("robot", "")), cameras=cameras, **sections)
        except ParameterError as error:
            if str(error).startswith(source):
                raise
            raise ParameterError(f"{source}: {error}") from error

    @classmethod
    def from_file(cls, path: str | Path) -> Embodiment:
        """Read the shared section of a robot's parameter file.

        :param path: For example ``config/widowx.yaml``.
        :raises ParameterError: Naming the file, the parameter and what is allowed.
        """
        return cls.from_parameters(read_file(path), source=str(path))

    def camera(self, name: str) -> Camera:
        """Return the camera of that name.

        :raises KeyError: Naming the cameras there are.
        """
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise KeyError(f"no camera '{name}'; there are {', '.join(c.name for c in self.cameras)}")

    def to_parameters(self) -> dict[str, Any]:
        """Return the flat parameters this embodiment would be built from."""
        values: dict[str, Any] = {"robot": self.robot, "cameras.names": [c.name for c in self.cameras]}
        for camera in self.cameras:
            values.update(_values_of(camera, f"cameras.{camera.name}."))
        for name in _SECTIONS:
            values.update(_values_of(getattr(self, name), f"{name}."))
        return values


def parameter_specs(values: Mapping[str, Any]) -> Iterator[ParameterSpec]:
    """List all parameters of an embodiment, for a node to declare.

    :param values: Must hold ``cameras.names`` already, since each camera has parameters of its own.
    """
    yield _ROBOT
    yield _CAMERA_NAMES
    for name in check(_CAMERA_NAMES, values.get(_CAMERA_NAMES.name, [])):
        yield from specs(Camera, f"cameras.{name}.")
    for name, section in _SECTIONS.items():
        yield from specs(section, f"{name}.")


def _build_camera(name: str, values: Mapping[str, Any]) -> Camera:
    prefix = f"cameras.{name}."
    hints = get_type_hints(Camera)
    arguments: dict[str, Any] = {}
    for spec in specs(Camera, prefix):
        field_name = spec.name[len(prefix) :]
        value = check(spec, values.get(spec.name, spec.default))
        hint = hints[field_name]
        arguments[field_name] = hint(value) if issubclass(hint, Enum) else value
    return Camera(name=name, **arguments)


def _values_of(section: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in fields(section):
        if "description" in field.metadata:
            value = getattr(section, field.name)
            if isinstance(value, Enum):
                value = value.value
            yield prefix + field.name, list(value) if isinstance(value, tuple) else value
