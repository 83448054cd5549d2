"""Grippers whose drivers serve actions: control_msgs and franka_msgs."""

from __future__ import annotations

from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node
from sensor_msgs.msg import JointState

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.adapters.adapter import require
from dream_vla_ros.nodes.adapters.gripper_action import GripperActions, GripperGoal
from dream_vla_ros.nodes.adapters.gripper_messages import driver_value


class GripperCommandGripper(GripperActions):
    """Sends ``control_msgs/GripperCommand`` goals to ``output.gripper_topic``.

    :param embodiment: Names action, positions and force.
    :raises AdapterError: If control_msgs is not installed.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        kind: Any = require("control_msgs.action", "output.gripper gripper_command").GripperCommand
        output = embodiment.output
        client = ActionClient(node, kind, output.gripper_topic)

        def plan(opening: float) -> GripperGoal:
            goal = kind.Goal()
            goal.command.position = driver_value(opening, output.gripper_closed, output.gripper_open)
            goal.command.max_effort = output.gripper_force
            return GripperGoal(client, goal, f"position {goal.command.position:.4g}")

        super().__init__(node, plan, _stalled_or_there)


class ParallelGripperCommandGripper(GripperActions):
    """Sends ``control_msgs/ParallelGripperCommand`` goals to ``output.gripper_topic``.

    :param embodiment: Names action, joint, positions, speed and force.
    :raises AdapterError: If control_msgs is not installed, or is too old to have this action.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        wanted_by = "output.gripper parallel_gripper_command"
        kind: Any = require("control_msgs.action", wanted_by).ParallelGripperCommand
        output = embodiment.output
        client = ActionClient(node, kind, output.gripper_topic)

        def plan(opening: float) -> GripperGoal:
            position = driver_value(opening, output.gripper_closed, output.gripper_open)
            goal = kind.Goal(
                command=JointState(
                    name=[output.gripper_joint],
                    position=[position],
                    velocity=[output.gripper_speed],
                    effort=[output.gripper_force],
                )
            )
            return GripperGoal(client, goal, f"position {position:.4g}")

        super().__init__(node, plan, _stalled_or_there)


class FrankaGripper(GripperActions):
    """Opens with ``franka_msgs/Move`` and closes with ``franka_msgs/Grasp``.

    :param embodiment: ``output.gripper_topic`` names the gripper's node, ``gripper_open`` and
        ``gripper_closed`` the distance of the fingers in m.
    :raises AdapterError: If franka_msgs is not installed.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        actions: Any = require("franka_msgs.action", "output.gripper franka")
        output = embodiment.output
        move = ActionClient(node, actions.Move, f"{output.gripper_topic}/move")
        grasp = ActionClient(node, actions.Grasp, f"{output.gripper_topic}/grasp")

        def plan(opening: float) -> GripperGoal:
            if opening >= 0.5:
                width = driver_value(opening, output.gripper_closed, output.gripper_open)
                return GripperGoal(
                    move, actions.Move.Goal(width=width, speed=output.gripper_speed), f"move to {width:.3f} m"
                )
            goal = actions.Grasp.Goal(
                width=output.gripper_closed, speed=output.gripper_speed, force=output.gripper_force
            )
            # Whatever is between the fingers is held, thick or thin.
            goal.epsilon.inner = goal.epsilon.outer = output.gripper_open
            return GripperGoal(grasp, goal, f"grasp with {output.gripper_force:g} N")

        super().__init__(node, plan, _franka_failure)


def _stalled_or_there(result: Any) -> str:
    if result.reached_goal or result.stalled:
        return ""
    return "it neither reached the position nor stalled on something"


def _franka_failure(result: Any) -> str:
    return "" if result.success else str(result.error or "the driver gives no reason")
