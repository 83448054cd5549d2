"""Start controller and policy for any robot with a parameter file; on request planner, recorder and displays.

Each is a process of its own: the controller stays up, and holds the arm, whatever becomes of the policy.
"""

from launch import LaunchDescription
from launch.actions import OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessStart
from launch_ros.actions import Node

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.launching import BRINGUP, Given, declare, large_images
from dream_vla_ros.nodes.resources import robot_config, share_folder


def launch_nodes(context):
    """Return the nodes for the arguments as they were given."""
    given = Given(context)
    config = str(robot_config(given["robot"]))
    common = {"use_sim_time": given.truth("use_sim_time")}
    managed = common | {"autostart": given.truth("autostart")}

    def node(executable, parameters, name=None, **options):
        return Node(
            package="dream_vla_ros",
            executable=executable,
            name=name or executable,
            namespace=given["namespace"],
            parameters=[config, parameters],
            arguments=["--ros-args", "--log-level", given["log_level"]],
            output="screen",
            **options,
        )

    output = given.some(output__adapter="adapter", output__gripper="gripper", blending="blending")
    controller = node("controller", common | output)
    others = []
    if given.truth("policy"):
        others.append(policy(given, managed, node))
    if given.truth("planner"):
        planner = given.some(checkpoint="planner_checkpoint", answers="planner_answers")
        others.append(node("planner", managed | planner | {"device": given["device"]}))
    if given.truth("recording"):
        others.append(node("recorder", common | {"folder": given["recordings"], "robot_file": config}))
    if given["teleop"]:
        joystick = [("joy", "spacenav/joy")] if given["teleop"] == "spacemouse" else []
        others.append(node("teleop", common | {"joy.device": given["teleop"]}, remappings=joystick))
    if given.truth("visualizer") or given.truth("rviz"):
        others.append(node("visualizer", common, additional_env=large_images()))
    if given.truth("rviz"):
        others.append(rviz(given, config, common))
    # The one that holds the arm comes first.
    first = RegisterEventHandler(OnProcessStart(target_action=controller, on_start=others))
    return [first, controller] if others else [controller]


def policy(given, managed, node):
    """Return the policy, or the scripted expert in its place."""
    expert = given.truth("expert")
    parameters = managed | {"seed": given.integer("seed")} | given.some(blending="blending")
    if not expert:
        parameters |= {"device": given["device"], "threads": given.integer("threads")}
        parameters |= given.some(checkpoint="checkpoint", objective="objective")
    return node(
        "expert" if expert else "policy",
        parameters,
        name="policy",
        respawn=given.truth("respawn_policy"),
        respawn_delay=2.0,
    )


def rviz(given, config, common):
    """Return RViz, in the robot's namespace and base frame, so that relative topics are the robot's."""
    layout = str(share_folder() / "config" / "rviz" / "dream_vla.rviz")
    embodiment = Embodiment.from_file(config)
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz",
        namespace=given["namespace"],
        parameters=[common],
        arguments=["-d", layout, "-f", embodiment.frames.base],
        remappings=[
            ("robot_description", embodiment.state.robot_description_topic),
            ("target_pose", embodiment.output.target_pose_topic),
        ],
        output="screen",
    )


def generate_launch_description():
    """Declare the arguments and start the nodes."""
    return LaunchDescription([*declare(BRINGUP), OpaqueFunction(function=launch_nodes)])
