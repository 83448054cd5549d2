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

from dream_vla_ros.embodiment_output import Adapter, GripperAdapter, IndependentPose, Output
from dream_vla_ros.embodiment_parts import (
    ActionSpace,
    Camera,
    Frames,
    GripperMode,
    GripperRules,
    ImageTransport,
    Limits,
    Proprio,
    ProprioLayout,
    RotationConvention,
    State,
    StateSource,
    Timing,
)
from dream_vla_ros.parameters import (
    ParameterError,
    ParameterSpec,
    build,
    check,
    read_file,
    refuse_unknown,
    specs,
)

__all__ = [
    "ActionSpace",
    "Adapter",
    "Camera",
    "Embodiment",
    "Frames",
    "GripperAdapter",
    "GripperMode",
    "GripperRules",
    "ImageTransport",
    "IndependentPose",
    "Limits",
    "Output",
    "Proprio",
    "ProprioLayout",
    "RotationConvention",
    "State",
    "StateSource",
    "Timing",
    "parameter_specs",
]

_SECTIONS: dict[str, type] = {
    "frames": Frames,
    "state": State,
    "action": ActionSpace,
    "proprio": Proprio,
    "limits": Limits,
    "gripper": GripperRules,
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
    gripper: GripperRules
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
