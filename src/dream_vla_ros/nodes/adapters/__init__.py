"""Ways for commands to reach a robot's own driver, as plug-ins within the controller's process.

What only some robots need, messages and solvers, is imported when their adapter is chosen.
"""

from __future__ import annotations

import importlib

from rclpy.node import Node

from dream_vla_ros import embodiment as robot
from dream_vla_ros.nodes.adapters.adapter import Adapter, AdapterError
from dream_vla_ros.nodes.adapters.delta import DeltaAdapter

__all__ = ["ADAPTERS", "GRIPPERS", "Adapter", "AdapterError", "make_adapters"]

ADAPTERS: dict[robot.Adapter, str] = {
    robot.Adapter.TARGET_POSE: "target_pose.TargetPoseAdapter",
    robot.Adapter.SERVO_TWIST: "servo.ServoTwistAdapter",
    robot.Adapter.SERVO_POSE: "servo.ServoPoseAdapter",
    robot.Adapter.JOINT_GROUP: "joint_group.JointGroupAdapter",
}
GRIPPERS: dict[robot.GripperAdapter, str] = {
    robot.GripperAdapter.FLOAT_ARRAY: "gripper_messages.FloatArrayGripper",
    robot.GripperAdapter.INTERBOTIX: "gripper_messages.InterbotixGripper",
    robot.GripperAdapter.GRIPPER_COMMAND: "gripper_actions.GripperCommandGripper",
    robot.GripperAdapter.PARALLEL_GRIPPER_COMMAND: "gripper_actions.ParallelGripperCommandGripper",
    robot.GripperAdapter.FRANKA: "gripper_actions.FrankaGripper",
}


def make_adapters(node: Node, embodiment: robot.Embodiment) -> list[Adapter]:
    """Make what ``output.adapter`` and ``output.gripper`` name, beside ``EndEffectorDelta``.

    :raises AdapterError: If one cannot work here; the message says what is missing.
    """
    output = embodiment.output
    adapters: list[Adapter] = [DeltaAdapter(node, embodiment)]
    for name in (ADAPTERS.get(output.adapter), GRIPPERS.get(output.gripper)):
        if name is not None:
            module, _, attribute = name.partition(".")
            made = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
            adapters.append(made(node, embodiment))
    return adapters
