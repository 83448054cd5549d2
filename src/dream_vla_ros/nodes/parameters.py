"""Declare parameter dataclasses as ROS parameters with descriptors and ranges."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from dream_vla_ros.embodiment import Embodiment, parameter_specs
from dream_vla_ros.parameters import ParameterError, ParameterSpec, build, specs

T = TypeVar("T")

_TYPES = {
    "bool": Parameter.Type.BOOL,
    "int": Parameter.Type.INTEGER,
    "float": Parameter.Type.DOUBLE,
    "str": Parameter.Type.STRING,
    "list[float]": Parameter.Type.DOUBLE_ARRAY,
    "list[str]": Parameter.Type.STRING_ARRAY,
}
# ROS has no open range; a bound that is missing on one side stands at what a double still counts exactly.
_UNBOUNDED = 1e15


def declare_embodiment(node: Node) -> Embodiment:
    """Declare the embodiment's parameters on a node and read the robot from them.

    :raises ParameterError: Naming the parameter; start the node with ``--params-file config/<robot>.yaml``.
    """
    names = _declare(node, [spec for spec in parameter_specs({}) if spec.name == "cameras.names"])
    values = names | _declare(node, [s for s in parameter_specs(names) if s.name not in names])
    return Embodiment.from_parameters(values, source=f"node '{node.get_fully_qualified_name()}'")


def declare(node: Node, cls: type[T], prefix: str = "") -> T:
    """Declare a parameter dataclass on a node and read it.

    :raises ParameterError: Naming node and parameter.
    """
    values = _declare(node, specs(cls, prefix))
    try:
        return build(cls, values, prefix)
    except ParameterError as error:
        raise ParameterError(f"node '{node.get_fully_qualified_name()}': {error}") from error


def _declare(node: Node, parameters: Iterable[ParameterSpec]) -> dict[str, Any]:
    values = {}
    for spec in parameters:
        try:
            if node.has_parameter(spec.name):
                parameter = node.get_parameter(spec.name)
            else:
                # An empty list has no type in YAML and an int may stand for a float, so the type is left open
                # here and checked by build(), whose message names the parameter and what is allowed.
                parameter = node.declare_parameter(spec.name, _default(spec), _descriptor(spec))
        except Exception as error:  # rclpy raises a different class for each way a value can be wrong
            raise ParameterError(
                f"node '{node.get_fully_qualified_name()}': parameter '{spec.name}': {error}"
            ) from error
        value = parameter.value
        values[spec.name] = spec.default if value is None else value
    return values


def _default(spec: ParameterSpec) -> Parameter | Any:
    if spec.type.startswith("list["):
        return Parameter(spec.name, _TYPES[spec.type], list(spec.default)).value
    return spec.default


def _descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=spec.name,
        description=spec.description,
        read_only=spec.read_only,
        dynamic_typing=spec.type != "bool",
    )
    if spec.choices:
        descriptor.additional_constraints = f"one of: {', '.join(spec.choices)}"
    if math.isfinite(spec.minimum) or math.isfinite(spec.maximum):
        low = spec.minimum if math.isfinite(spec.minimum) else -_UNBOUNDED
        high = spec.maximum if math.isfinite(spec.maximum) else _UNBOUNDED
        if spec.type == "float":
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif spec.type == "int":
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return descriptor
