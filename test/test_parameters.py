from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import pytest

from dream_vla_ros.parameters import ParameterError, build, param, read_file, refuse_unknown, specs


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Settings:
    speed: float = param(0.5, "Speed [m/s].", minimum=0.0, maximum=1.0)
    count: int = param(3, "How many.", minimum=1)
    colour: Colour = param(Colour.RED, "Which.")
    corners: tuple[float, ...] = param((0.0, 1.0), "Where.")
    enabled: bool = param(True, "Whether.", read_only=False)


def test_defaults():
    assert build(Settings, {}) == Settings()


def test_reads_values_under_a_prefix_and_turns_types():
    values = {"a.speed": 1, "a.colour": "blue", "a.corners": [1, 2.5], "b.count": 9}
    assert build(Settings, values, "a.") == Settings(speed=1.0, colour=Colour.BLUE, corners=(1.0, 2.5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"speed": 1.5}, "'speed' is 1.5, outside 0 to 1: Speed"),
        ({"speed": "fast"}, "'speed' is 'fast', not a float"),
        ({"speed": True}, "'speed' is True, not a float"),
        ({"speed": float("nan")}, "not a finite number"),
        ({"count": 2.0}, "'count' is 2.0, not a int"),
        ({"count": 0}, "outside 1 to inf"),
        ({"colour": "green"}, "choose one of red, blue"),
        ({"corners": 1.0}, r"'corners' is 1.0, not a list\[float\]"),
        ({"corners": ["a"]}, "'corners' is 'a', not a float"),
        ({"enabled": 1}, "'enabled' is 1, not a bool"),
    ],
)
def test_errors_name_the_parameter(values, message):
    with pytest.raises(ParameterError, match=message):
        build(Settings, values)


def test_specs_describe_each_field():
    by_name = {spec.name: spec for spec in specs(Settings, "a.")}
    assert by_name["a.colour"].choices == ("red", "blue")
    assert by_name["a.corners"].type == "list[float]"
    assert by_name["a.corners"].default == [0.0, 1.0]
    assert by_name["a.speed"].maximum == 1.0
    assert by_name["a.speed"].read_only
    assert not by_name["a.enabled"].read_only


def test_reads_a_ros_parameter_file(tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text("/**:\n  ros__parameters:\n    limits: {speed: 0.2}\n    robot: arm\n")
    assert read_file(path) == {"limits.speed": 0.2, "robot": "arm"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such parameter file"),
        ("a: [1", "cannot be read as YAML"),
        ("a: 1", "has no section"),
        ("", "has no section"),
        ("!!python/object/apply:os.getcwd []", "cannot be read as YAML"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "robot.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ParameterError, match=message) as error:
        read_file(path)
    assert str(path) in str(error.value)


def test_unknown_names_come_with_the_nearest_known():
    with pytest.raises(ParameterError, match="unknown parameter 'limits.sped'; did you mean 'limits.speed'"):
        refuse_unknown({"limits.sped": 1}, {"limits.speed", "robot"}, "arm.yaml")
