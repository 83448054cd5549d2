"""Start controller and policy for any robot that has a parameter file.

The two are separate processes: the controller stays up, and holds the arm, whatever becomes of the policy.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch.utilities.type_utils import perform_typed_substitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dream_vla_ros.nodes.resources import robot_config

ARGUMENTS = (
    ("robot", None, "Robot: a name in config/ (tabletop, widowx, franka) or the path of a parameter file."),
    ("checkpoint", "", "Folder of the Dream-VLA checkpoint; empty takes what the parameter file says."),
    ("objective", "", "Objective of the checkpoint; empty takes what the parameter file says."),
    ("device", "auto", "Torch device: auto, cpu, cuda:0 ..."),
    ("seed", "0", "Seed of the policy's sampling."),
    ("threads", "0", "Processor threads that inference may use; 0 leaves the choice to torch."),
    ("expert", "false", "Let the scripted expert act in the policy's place (simulated tabletop only)."),
    (
        "autostart",
        "true",
        "Configure and activate the policy at once; false leaves that to 'ros2 lifecycle'.",
    ),
    ("respawn_policy", "false", "Start the policy anew when it dies; goals do not survive that."),
    ("namespace", "", "Namespace of all nodes."),
    ("use_sim_time", "false", "Take the time from /clock."),
    ("log_level", "info", "Logging severity of the nodes."),
)


def launch_nodes(context):
    """Return the nodes for the arguments as they were given."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    config = str(robot_config(value("robot")))
    common = {"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}
    policy = common | {
        "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
        "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
    }
    expert = truth(context, "expert")
    if not expert:
        policy["device"] = value("device")
        policy["threads"] = ParameterValue(LaunchConfiguration("threads"), value_type=int)
        policy |= {name: value(name) for name in ("checkpoint", "objective") if value(name)}
    shared = {
        "package": "dream_vla_ros",
        "namespace": value("namespace"),
        "output": "screen",
        "arguments": ["--ros-args", "--log-level", value("log_level")],
    }
    return [
        Node(executable="controller", name="controller", parameters=[config, common], **shared),
        Node(
            executable="expert" if expert else "policy",
            name="policy",
            parameters=[config, policy],
            respawn=truth(context, "respawn_policy"),
            respawn_delay=2.0,
            **shared,
        ),
    ]


def truth(context, name):
    """Return an argument as a truth value; anything but one is an error."""
    return perform_typed_substitution(context, [LaunchConfiguration(name)], bool)


def generate_launch_description():
    """Declare the arguments and start the nodes."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=launch_nodes)])
