"""Start controller and policy for a Franka Research 3; its controllers and cameras are started apart."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

BRINGUP = str(Path(__file__).with_name("bringup.launch.py"))


def generate_launch_description():
    """Include the bringup for this robot; its arguments are this file's too."""
    source = PythonLaunchDescriptionSource(BRINGUP)
    return LaunchDescription([IncludeLaunchDescription(source, launch_arguments={"robot": "franka"}.items())])
