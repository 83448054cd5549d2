"""Start controller and policy for a Franka Research 3; docs/franka.md says what is started before them."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from dream_vla_ros.nodes.launching import BRINGUP, declare, with_defaults

SOURCE = str(Path(__file__).with_name("bringup.launch.py"))
ARGUMENTS = with_defaults(BRINGUP, robot="franka")


def generate_launch_description():
    """Include the bringup, in a group of its own: nothing of it reaches other files launched beside it."""
    given = {argument.name: LaunchConfiguration(argument.name) for argument in ARGUMENTS}
    bringup = IncludeLaunchDescription(PythonLaunchDescriptionSource(SOURCE), launch_arguments=given.items())
    return LaunchDescription([*declare(ARGUMENTS), GroupAction([bringup])])
