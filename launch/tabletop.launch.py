"""Start the simulated tabletop with controller and policy.

Without a trained checkpoint the policy runs random weights: everything works but no task succeeds.
'expert:=true' lets a scripted expert act instead.
"""

import os
from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from dream_vla_ros.nodes.launching import Given, declare, tabletop_arguments
from dream_vla_ros.nodes.resources import (
    robot_config,
    trained_tabletop_checkpoint,
    untrained_tabletop_folder,
)

BRINGUP = str(Path(__file__).with_name("bringup.launch.py"))
UNTRAINED_OBJECTIVE = "flow_matching"


def untrained_parent():
    """Return the folder for random weights, beside the logs of ROS."""
    return Path(os.environ.get("ROS_HOME", Path.home() / ".ros")) / "dream_vla"


def launch_nodes(context):
    """Return the nodes for the arguments as they were given."""
    given = Given(context)
    simulation = Node(
        package="dream_vla_ros",
        executable="sim",
        name="sim",
        namespace=given["namespace"],
        parameters=[
            str(robot_config(given["robot"])),
            {
                "task": given["task"],
                "seed": given.integer("seed"),
                "use_sim_time": given.truth("use_sim_time"),
            },
        ],
        arguments=["--ros-args", "--log-level", given["log_level"]],
        output="screen",
        on_exit=Shutdown(reason="the simulation ended"),
    )
    checkpoint, objective = given["checkpoint"], given["objective"]
    trained = trained_tabletop_checkpoint()
    if checkpoint or given.truth("expert") or not given.truth("policy"):
        return [simulation, bringup(given, checkpoint, objective)]
    if trained is not None:
        return [simulation, bringup(given, str(trained), objective)]
    objective, seed = objective or UNTRAINED_OBJECTIVE, given["seed"]
    folder = untrained_tabletop_folder(untrained_parent(), objective, int(seed))
    command = ["python3", "-m", "dream_vla_ros.nodes.policy.untrained", str(folder.parent)]
    write = ExecuteProcess(cmd=[*command, "--objective", objective, "--seed", seed], output="screen")

    def start(event, _):
        if event.returncode:
            return [Shutdown(reason="the random weights could not be written")]
        return [
            LogInfo(msg="RANDOM WEIGHTS: the arm will move, no task will succeed; see also expert:=true"),
            bringup(given, str(folder), objective),
        ]

    return [simulation, write, RegisterEventHandler(OnProcessExit(target_action=write, on_exit=start))]


def bringup(given, checkpoint, objective):
    """Include controller and policy; all other arguments are passed on as they are."""
    arguments = {"robot": given["robot"], "checkpoint": checkpoint, "objective": objective}
    include = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(BRINGUP), launch_arguments=arguments.items()
    )
    return GroupAction([include])


def generate_launch_description():
    """Declare the arguments and start the nodes."""
    return LaunchDescription([*declare(tabletop_arguments()), OpaqueFunction(function=launch_nodes)])
