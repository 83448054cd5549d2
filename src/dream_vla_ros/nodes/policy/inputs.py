"""What a policy predicts from, gathered from the robot's topics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from rclpy.node import Node

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.camera_source import CameraSource, CameraStatistics
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.policy.consumption import Consumption
from dream_vla_ros.policy.frames import MissingInputError
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.robot_state import RobotState
from dream_vla_ros.state_history import StateUnknownError

Seen = TypeVar("Seen", covariant=True)


class Observer(Protocol[Seen]):
    """Gathers what one kind of policy predicts from."""

    def observe(self, instruction: str, newer_than_ns: int) -> Seen:
        """Return the newest observation.

        :param newer_than_ns: Its capture must be later than this (ROS time).
        :raises MissingInputError: Naming what is missing or too old.
        """

    def camera_statistics(self) -> list[CameraStatistics]:
        """Return what came from each camera; nothing where none is looked at."""

    def destroy(self) -> None:
        """Unsubscribe."""


def fresh_state(states: StateSource, embodiment: Embodiment, node: Node) -> RobotState:
    """Return the newest state of the arm.

    :raises MissingInputError: If it is missing, too old or stamped in the future.
    """
    state = states.latest()
    if state is None:
        raise MissingInputError(states.problem)
    ros_ns = node.get_clock().now().nanoseconds
    ahead_s = (state.stamp_ns - ros_ns) * 1e-9
    if ahead_s > embodiment.timing.clock_tolerance:
        raise MissingInputError(
            f"state of the arm is stamped {ahead_s:.3f} s in the future, more than timing.clock_tolerance "
            f"{embodiment.timing.clock_tolerance:g} s; synchronise the clocks"
        )
    age_s = state.age_s(ros_ns, time.monotonic_ns())
    if age_s > embodiment.timing.state_max_age:
        why = f" ({states.problem})" if states.problem else ""
        raise MissingInputError(
            f"state of the arm is {age_s:.2f} s old, more than timing.state_max_age "
            f"{embodiment.timing.state_max_age:g} s{why}"
        )
    return state


class CameraObserver:
    """Gathers images and state.

    :param node: Node that subscribes.
    :param embodiment: Names topics and limits.
    :param states: The arm's state.
    :param on_input: Called from the executor when something new came.
    :param consumption: Tells how an observation lies on the chunk before; None continues no chunk.
    """

    def __init__(
        self,
        node: Node,
        embodiment: Embodiment,
        states: StateSource,
        on_input: Callable[[], None],
        consumption: Consumption | None = None,
    ) -> None:
        self._node = node
        self._embodiment = embodiment
        self._states = states
        self._consumption = consumption
        self._cameras = CameraSource(node, embodiment, on_frame=on_input)

    def observe(self, instruction: str, newer_than_ns: int) -> Observation:
        """Return the newest images that belong together, and the state of the arm at their capture.

        :raises MissingInputError: Naming what is missing or too old.
        """
        fresh_state(self._states, self._embodiment, self._node)
        images, stamps_ns = self._cameras.latest(newer_than_ns, self._states.known_until_ns())
        try:
            state = self._states.at(min(stamps_ns.values()))
        except StateUnknownError as unknown:
            raise MissingInputError(str(unknown)) from unknown
        overlap = None
        if self._consumption is not None:
            overlap = self._consumption.overlap(min(stamps_ns.values()))
        return Observation(images, stamps_ns, state, instruction, overlap)

    def camera_statistics(self) -> list[CameraStatistics]:
        """Return what came from each camera."""
        return self._cameras.statistics()

    def destroy(self) -> None:
        """Unsubscribe."""
        self._cameras.destroy()
