from pathlib import Path

import numpy as np
import pytest
import yaml

from dream_vla_ros.embodiment import Adapter, Embodiment, ProprioLayout, RotationConvention, StateSource
from dream_vla_ros.parameters import ParameterError, read_file

CONFIG = Path(__file__).parents[1] / "config"


def values(**changes):
    result = read_file(CONFIG / "tabletop.yaml")
    result.update(changes)
    return {name: value for name, value in result.items() if value is not None}


@pytest.mark.parametrize("robot", ["tabletop", "widowx", "franka"])
def test_shipped_configs_are_valid_and_survive_a_round_trip(robot):
    embodiment = Embodiment.from_file(CONFIG / f"{robot}.yaml")
    assert embodiment.robot == robot
    assert Embodiment.from_parameters(embodiment.to_parameters()) == embodiment


def test_tabletop_as_the_shared_facts_say():
    embodiment = Embodiment.from_file(CONFIG / "tabletop.yaml")
    assert [camera.name for camera in embodiment.cameras] == ["third_person", "wrist"]
    assert embodiment.action.period_s == pytest.approx(0.2)
    assert embodiment.proprio.layout is ProprioLayout.XYZ_AXIS_ANGLE_FINGERS
    assert embodiment.proprio.layout.size == 8
    assert embodiment.output.adapter is Adapter.TARGET_POSE
    assert embodiment.camera("wrist").topic == "wrist/image_raw"


def test_bridge_convention_of_the_widowx():
    embodiment = Embodiment.from_file(CONFIG / "widowx.yaml")
    assert embodiment.action.rotation is RotationConvention.EULER_DIFFERENCE
    assert embodiment.state.source is StateSource.ROBOT_DESCRIPTION
    x, y, z, w = embodiment.proprio.reference_quaternion
    assert np.allclose([x, y, z, w], [0.0, np.sqrt(0.5), 0.0, np.sqrt(0.5)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"limits.linear_speeed": 0.2},
            "unknown parameter 'limits.linear_speeed'; did you mean 'limits.linear_speed'",
        ),
        ({"cameras.side.topic": "x"}, "unknown parameter 'cameras.side.topic'"),
        ({"robot": None}, "'robot' is missing"),
        ({"cameras.names": []}, "unknown parameter 'cameras.third_person"),
        ({"cameras.third_person.topic": None}, "'cameras.third_person.topic' is missing"),
        ({"cameras.names": ["wrist", "wrist", "third_person"]}, "names a camera twice"),
        ({"limits.workspace_min": [0.1, 0.2]}, "three numbers"),
        ({"limits.workspace_min": [0.6, -0.3, 0.0]}, "workspace_min x = 0.6 is not below"),
        ({"limits.linear_speed": -1.0}, "'limits.linear_speed' is -1.0, outside"),
        ({"state.finger_open": [0.03]}, "finger_joints names 2 joints, but finger_open has 1"),
        ({"state.finger_open": [0.0, 0.03]}, "of joint 'left_finger' are both 0.0"),
        ({"state.source": "guess"}, "choose one of pose_topic, robot_description, tf"),
        ({"action.gripper_closed": 1.0}, "are both 1.0"),
        ({"action.rate": 100.0}, "timing.control_rate 50.0 Hz is below"),
        ({"proprio.reference_rotation": [1.0] * 9}, "not a rotation matrix"),
        ({"proprio.reference_rotation": [1.0, 0.0]}, "has 2 numbers, not 9"),
        ({"output.adapter": "teleport"}, "choose one of delta, target_pose"),
    ],
)
def test_errors_name_file_and_parameter(changes, message):
    with pytest.raises(ParameterError, match=message) as error:
        Embodiment.from_parameters(values(**changes), source="config/arm.yaml")
    assert "config/arm.yaml" in str(error.value)


def test_fingers_are_required_where_the_proprio_wants_them(tmp_path):
    content = yaml.safe_load((CONFIG / "tabletop.yaml").read_text())
    content["/**"]["ros__parameters"]["state"] = {"source": "pose_topic"}
    path = tmp_path / "arm.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ParameterError, match="needs two state.finger_joints") as error:
        Embodiment.from_file(path)
    assert str(path) in str(error.value)


def test_ros_own_parameters_may_stand_in_the_shared_section():
    assert Embodiment.from_parameters(values(use_sim_time=True)).robot == "tabletop"


def test_unknown_camera_is_named():
    with pytest.raises(KeyError, match="no camera 'side'; there are third_person, wrist"):
        Embodiment.from_file(CONFIG / "tabletop.yaml").camera("side")
