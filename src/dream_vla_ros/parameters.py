"""Typed, documented, range-checked parameters declared as dataclass fields.

One declaration serves two readers: a node declares the same fields as ROS parameters with descriptors, and
everything else reads them from the same YAML file without ROS.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")


class ParameterError(ValueError):
    """A parameter that is missing, unknown, of the wrong type or out of range; the message names it."""


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter as a reader or a node needs to know it.

    :param name: Full dotted name, for example ``limits.linear_speed``.
    :param type: ``bool``, ``int``, ``float``, ``str``, ``list[float]`` or ``list[str]`` as a word.
    :param default: Value where none is given.
    :param minimum: Smallest value allowed (of each element), for numbers.
    :param maximum: Largest value allowed (of each element), for numbers.
    :param choices: The words allowed, for strings; empty for any.
    """

    name: str
    type: str
    default: Any
    description: str
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    read_only: bool = True


def param(
    default: Any,
    description: str,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    read_only: bool = True,
) -> Any:
    """Declare a dataclass field as a parameter.

    :param default: Value where none is given; tuples become lists.
    :param description: One sentence with the unit.
    :param read_only: False where a running node takes a new value.
    """
    metadata = {
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "read_only": read_only,
    }
    return dataclasses.field(default=default, metadata=metadata)


def specs(cls: type, prefix: str = "") -> Iterator[ParameterSpec]:
    """List the parameters a dataclass declares with :func:`param`.

    :param cls: The dataclass.
    :param prefix: Put before each name, with its dot.
    """
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if "description" not in field.metadata:
            continue
        kind, choices = _kind_of(hints[field.name])
        default = field.default
        if isinstance(default, Enum):
            default = default.value
        elif isinstance(default, tuple):
            default = list(default)
        yield ParameterSpec(
            prefix + field.name,
            kind,
            default,
            field.metadata["description"],
            field.metadata["minimum"],
            field.metadata["maximum"],
            choices,
            field.metadata["read_only"],
        )


def build(cls: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Make the dataclass from flat parameters, checking type and range of each.

    :param values: Full dotted names to values; names that belong to other classes are left alone.
    :raises ParameterError: Naming the parameter and what is allowed.
    """
    hints = get_type_hints(cls)
    arguments = {}
    for spec in specs(cls, prefix):
        field_name = spec.name[len(prefix) :]
        value = check(spec, values.get(spec.name, spec.default))
        hint = hints[field_name]
        if isinstance(hint, type) and issubclass(hint, Enum):
            value = hint(value)
        elif isinstance(value, list):
            value = tuple(value)
        arguments[field_name] = value
    try:
        return cls(**arguments)
    except ParameterError as error:
        raise ParameterError(
            f"{prefix}*: {error}" if prefix and prefix not in str(error) else str(error)
        ) from error


def check(spec: ParameterSpec, value: Any) -> Any:
    """Return the value in the parameter's own type.

    :raises ParameterError: If the type is wrong, a number is not finite or out of range, or a word is none of
        the choices.
    """
    if spec.type.startswith("list["):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise ParameterError(f"parameter '{spec.name}' is {value!r}, not a {spec.type}")
        return [_check_scalar(spec, spec.type[5:-1], element) for element in value]
    return _check_scalar(spec, spec.type, value)


def _check_scalar(spec: ParameterSpec, kind: str, value: Any) -> Any:
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value).__name__ != kind:
        raise ParameterError(f"parameter '{spec.name}' is {value!r}, not a {kind}")
    if kind in ("int", "float"):
        if not math.isfinite(value):
            raise ParameterError(f"parameter '{spec.name}' is {value}, not a finite number")
        if not spec.minimum <= value <= spec.maximum:
            raise ParameterError(
                f"parameter '{spec.name}' is {value}, outside {spec.minimum:g} to {spec.maximum:g}: "
                f"{spec.description}"
            )
    if kind == "str" and spec.choices and value not in spec.choices:
        raise ParameterError(f"parameter '{spec.name}' is '{value}'; choose one of {', '.join(spec.choices)}")
    return value


def _kind_of(hint: Any) -> tuple[str, tuple[str, ...]]:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "str", tuple(member.value for member in hint)
    if get_origin(hint) is tuple:
        return f"list[{get_args(hint)[0].__name__}]", ()
    return hint.__name__, ()


def read_file(path: str | Path, node: str = "/**") -> dict[str, Any]:
    """Read one node's section of a ROS parameter file into flat dotted names.

    :param path: YAML file of the form ``/**: {ros__parameters: {...}}``.
    :param node: The section; the shared one by default.
    :raises ParameterError: If the file cannot be read or has no such section.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParameterError(f"{path}: no such parameter file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParameterError(f"{path}: cannot be read as YAML: {error}") from error
    section = content.get(node) if isinstance(content, dict) else None
    values = section.get("ros__parameters") if isinstance(section, dict) else None
    if not isinstance(values, dict):
        raise ParameterError(f"{path}: has no section '{node}: ros__parameters:'")
    return dict(_flatten(values))


def refuse_unknown(values: Mapping[str, Any], known: set[str], source: str) -> None:
    """Refuse names that nothing reads, most often a misspelling.

    :raises ParameterError: Naming the parameter, the file or node, and the nearest known name.
    """
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ParameterError(f"{source}: unknown parameter '{name}'{hint}")


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
