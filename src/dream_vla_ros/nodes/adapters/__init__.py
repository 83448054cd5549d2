"""Ways for commands to reach a robot's own driver, as plug-ins within the controller's process."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from dream_vla_ros import embodiment as robot
from dream_vla_ros.nodes.adapters.adapter import Adapter, AdapterError
from dream_vla_ros.nodes.adapters.delta import DeltaAdapter
from dream_vla_ros.nodes.adapters.target_pose import TargetPoseAdapter

ADAPTERS: dict[robot.Adapter, Callable[[Node, robot.Embodiment], Adapter]] = {
    robot.Adapter.DELTA: DeltaAdapter,
    robot.Adapter.TARGET_POSE: TargetPoseAdapter,
}

__all__ = ["ADAPTERS", "Adapter", "AdapterError", "DeltaAdapter", "TargetPoseAdapter", "make_adapters"]


def make_adapters(node: Node, embodiment: robot.Embodiment) -> list[Adapter]:
    """Make what the robot's ``output.adapter`` names; ``EndEffectorDelta`` is always published beside it.

    :raises AdapterError: If the adapter cannot work here; the message says what is missing.
    """
    kinds = dict.fromkeys((robot.Adapter.DELTA, embodiment.output.adapter))
    return [ADAPTERS[kind](node, embodiment) for kind in kinds]
