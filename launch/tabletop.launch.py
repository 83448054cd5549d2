"""Start the simulated tabletop with controller and policy.

Without a trained checkpoint the policy runs random weights: everything works but no task succeeds.
'expert:=true' lets a scripted expert act instead.
"""

import os
from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch.utilities.type_utils import perform_typed_substitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dream_vla_ros.nodes.resources import (
    robot_config,
    trained_tabletop_checkpoint,
    untrained_tabletop_folder,
)

BRINGUP = str(Path(__file__).with_name("bringup.launch.py"))
HALF = str(max((os.cpu_count() or 2) // 2, 1))
UNTRAINED_OBJECTIVE = "flow_matching"

ARGUMENTS = (
    ("task", "pick up the red block", "Task that the blocks are laid out for and success is judged by."),
    ("seed", "0", "Seed of the scene and of the policy's sampling."),
    ("checkpoint", "", "Checkpoint; empty takes models/tabletop, or random weights where that is missing."),
    ("objective", "", "Objective of the checkpoint; empty takes flow_matching."),
    ("device", "auto", "Torch device: auto, cpu, cuda:0 ..."),
    ("threads", HALF, "Processor threads of inference; by default the simulation keeps half of them."),
    ("expert", "false", "Let the scripted expert act in the policy's place."),
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


def untrained_parent():
    """Return the folder for random weights, beside the logs of ROS."""
    return Path(os.environ.get("ROS_HOME", Path.home() / ".ros")) / "dream_vla"


def launch_nodes(context):
    """Return the nodes for the arguments as they were given."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    simulation = Node(
        package="dream_vla_ros",
        executable="sim",
        name="sim",
        namespace=value("namespace"),
        parameters=[
            str(robot_config("tabletop")),
            {
                "task": value("task"),
                "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
            },
        ],
        arguments=["--ros-args", "--log-level", value("log_level")],
        output="screen",
        on_exit=Shutdown(reason="the simulation ended"),
    )
    trained = trained_tabletop_checkpoint()
    if value("checkpoint") or truth(context, "expert"):
        return [simulation, bringup(value("checkpoint"), value("objective"))]
    if trained is not None:
        return [simulation, bringup(str(trained), value("objective"))]
    objective, seed = value("objective") or UNTRAINED_OBJECTIVE, value("seed")
    folder = untrained_tabletop_folder(untrained_parent(), objective, int(seed))
    command = ["python3", "-m", "dream_vla_ros.nodes.untrained", str(folder.parent)]
    write = ExecuteProcess(cmd=[*command, "--objective", objective, "--seed", seed], output="screen")

    def start(event, _):
        if event.returncode:
            return [Shutdown(reason="the random weights could not be written")]
        return [
            LogInfo(msg="RANDOM WEIGHTS: the arm will move, no task will succeed; see also expert:=true"),
            bringup(str(folder), objective),
        ]

    return [simulation, write, RegisterEventHandler(OnProcessExit(target_action=write, on_exit=start))]


def truth(context, name):
    """Return an argument as a truth value; anything but one is an error."""
    return perform_typed_substitution(context, [LaunchConfiguration(name)], bool)


def bringup(checkpoint, objective):
    """Include controller and policy; all other arguments are passed on as they are."""
    arguments = {"robot": "tabletop", "checkpoint": checkpoint, "objective": objective}
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(BRINGUP), launch_arguments=arguments.items()
    )


def generate_launch_description():
    """Declare the arguments and start the nodes."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=launch_nodes)])
