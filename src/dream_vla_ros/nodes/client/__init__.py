"""Drives a robot from Python: goals in words, stop and resume."""

from dream_vla_ros.nodes.client.robot import DreamVLA

__all__ = ["DreamVLA"]
