"""From action chunks to one bounded command per control tick; no torch, no ROS."""

from dream_vla_ros.control.command import NO_GOAL, Cause, Command, Counters, Mode, Reason
from dream_vla_ros.control.controller import Controller
from dream_vla_ros.control.settings import ControlSettings

__all__ = [
    "NO_GOAL",
    "Cause",
    "Command",
    "ControlSettings",
    "Controller",
    "Counters",
    "Mode",
    "Reason",
]
