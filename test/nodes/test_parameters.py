from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy")

from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from dream_vla_ros.embodiment import Embodiment  # noqa: E402
from dream_vla_ros.nodes.parameters import declare_embodiment  # noqa: E402
from dream_vla_ros.parameters import ParameterError  # noqa: E402

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def make_node(domain_id):
    nodes, context = [], Context()
    rclpy.init(context=context)

    def make(arguments):
        node = Node("arm", context=context, cli_args=["--ros-args", *arguments], use_global_arguments=False)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize("robot", ["tabletop", "widowx", "franka"])
def test_a_node_reads_the_same_robot_as_the_file(make_node, robot):
    path = CONFIG / f"{robot}.yaml"
    assert declare_embodiment(make_node(["--params-file", str(path)])) == Embodiment.from_file(path)


def test_values_on_the_command_line_win_and_integers_stand_for_floats(make_node):
    node = make_node(["--params-file", str(CONFIG / "tabletop.yaml"), "-p", "limits.linear_speed:=1"])
    assert declare_embodiment(node).limits.linear_speed == 1.0


def test_descriptors_carry_description_and_range(make_node):
    node = make_node(["--params-file", str(CONFIG / "tabletop.yaml")])
    declare_embodiment(node)
    descriptor = node.describe_parameter("limits.linear_speed")
    assert "m/s" in descriptor.description
    assert descriptor.read_only
    assert descriptor.floating_point_range[0].to_value == 2.0
    assert "raw, compressed" in node.describe_parameter("cameras.wrist.transport").additional_constraints


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("limits.linear_speed:=-1.0", "limits.linear_speed"),
        ("timing.clock_tolerance:=soon", "timing.clock_tolerance"),
        ("output.adapter:=teleport", "choose one of delta, target_pose"),
        ("limits.workspace_min:=[0.1]", "three numbers"),
    ],
)
def test_errors_name_node_and_parameter(make_node, override, message):
    node = make_node(["--params-file", str(CONFIG / "tabletop.yaml"), "-p", override])
    with pytest.raises(ParameterError, match=message) as error:
        declare_embodiment(node)
    assert "/arm" in str(error.value)


def test_without_a_robot_file_the_error_says_what_to_pass(make_node):
    with pytest.raises(ParameterError, match="config/<robot>.yaml"):
        declare_embodiment(make_node([]))


def test_a_read_only_parameter_cannot_be_changed_while_running(make_node):
    node = make_node(["--params-file", str(CONFIG / "tabletop.yaml")])
    declare_embodiment(node)
    result = node.set_parameters([Parameter("limits.linear_speed", value=0.5)])[0]
    assert not result.successful
