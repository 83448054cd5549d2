"""What the launch files share: their arguments, and how they are declared and read.

``launch`` itself is imported only when a launch file runs; the wheels do not have it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from dream_vla_ros.nodes.resources import share_folder

# Fast DDS before version 3 (Jazzy), and from then on (Kilted).
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
# The simulation wants the other half of the processor.
_HALF_THREADS = str(max((os.cpu_count() or 2) // 2, 1))


@dataclass(frozen=True)
class Argument:
    """One argument of a launch file.

    :param default: None where it has to be given.
    """

    name: str
    default: str | None
    description: str


BRINGUP = (
    Argument(
        "robot", None, "Robot: a name in config/ (tabletop, widowx, franka) or a parameter file's path."
    ),
    Argument(
        "checkpoint", "", "Folder of the Dream-VLA checkpoint; empty takes what the parameter file says."
    ),
    Argument("objective", "", "Objective of the checkpoint; empty takes what the parameter file says."),
    Argument("device", "auto", "Torch device: auto, cpu, cuda:0 ..."),
    Argument("seed", "0", "Seed of the policy's sampling."),
    Argument("threads", "0", "Processor threads that inference may use; 0 leaves the choice to torch."),
    Argument(
        "blending",
        "",
        "How a new chunk joins the one before: latest, temporal_ensemble, inpainting, real_time_chunking; "
        "empty takes what the parameter file says.",
    ),
    Argument(
        "adapter", "", "How motion reaches the driver (output.adapter); empty takes the parameter file's."
    ),
    Argument("gripper", "", "How the gripper is reached (output.gripper); empty takes the parameter file's."),
    Argument(
        "policy", "true", "Start a policy; without one, check_directions or your own node moves the arm."
    ),
    Argument(
        "expert", "false", "Let the scripted expert act in the policy's place (simulated tabletop only)."
    ),
    Argument("planner", "false", "Start the planner, which grounds questions and carries out tasks."),
    Argument("planner_checkpoint", "", "Folder of the planner's Dream-VL checkpoint."),
    Argument("planner_answers", "", "Who answers for the planner: dream_vl, or oracle (simulated tabletop)."),
    Argument("recording", "false", "Start the recorder, which 'dream_vla record' makes write episodes."),
    Argument("recordings", "recordings", "Folder that the recorder writes its bags in."),
    Argument(
        "teleop", "", "Let a human drive or take over: gamepad, spacemouse or keyboard; empty lets nobody."
    ),
    Argument("visualizer", "false", "Start the visualizer: markers for RViz and an overlay image."),
    Argument("rviz", "false", "Start RViz with this package's configuration, and the visualizer."),
    Argument(
        "autostart",
        "true",
        "Configure and activate lifecycle nodes at once; false leaves it to 'ros2 lifecycle'.",
    ),
    Argument("respawn_policy", "false", "Start the policy anew when it dies; goals do not survive that."),
    Argument("namespace", "", "Namespace of all nodes."),
    Argument("use_sim_time", "false", "Take the time from /clock."),
    Argument("log_level", "info", "Logging severity of the nodes."),
)


def with_defaults(arguments: Iterable[Argument], **defaults: str) -> tuple[Argument, ...]:
    """Return arguments with some defaults replaced."""
    return tuple(
        replace(argument, default=defaults.get(argument.name, argument.default)) for argument in arguments
    )


def tabletop_arguments() -> tuple[Argument, ...]:
    """Return the arguments of the simulated tabletop."""
    task = Argument(
        "task", "pick up the red block", "Task that the blocks are laid out for and success is judged by."
    )
    return (task, *with_defaults(BRINGUP, robot="tabletop", threads=_HALF_THREADS))


def declare(arguments: Iterable[Argument]) -> list[Any]:
    """Return the actions that declare arguments to a launch file."""
    from launch.actions import DeclareLaunchArgument

    return [
        DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.description)
        for argument in arguments
    ]


def large_images() -> dict[str, str]:
    """Return the environment of a node that publishes large images; a profile of the user's own stays."""
    if any(name in os.environ for name in _PROFILE_VARIABLES):
        return {}
    profile = str(share_folder() / "config" / "fastdds_cameras.xml")
    return dict.fromkeys(_PROFILE_VARIABLES, profile)


class Given:
    """The arguments as they were given, in a launch context."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getitem__(self, name: str) -> str:
        """Return an argument's text."""
        from launch.substitutions import LaunchConfiguration

        return str(LaunchConfiguration(name).perform(self._context))

    def truth(self, name: str) -> bool:
        """Return an argument as a truth value; anything but one is an error."""
        from launch.substitutions import LaunchConfiguration
        from launch.utilities.type_utils import perform_typed_substitution

        return bool(perform_typed_substitution(self._context, [LaunchConfiguration(name)], bool))

    def integer(self, name: str) -> int:
        """Return an argument as a whole number; anything but one is an error."""
        from launch.substitutions import LaunchConfiguration
        from launch.utilities.type_utils import perform_typed_substitution

        return int(perform_typed_substitution(self._context, [LaunchConfiguration(name)], int))

    def some(self, **parameters: str) -> dict[str, str]:
        """Return the parameters whose argument is not empty.

        :param parameters: Names of parameters, with ``__`` for a dot, to names of arguments.
        """
        return {
            parameter.replace("__", "."): self[name] for parameter, name in parameters.items() if self[name]
        }
