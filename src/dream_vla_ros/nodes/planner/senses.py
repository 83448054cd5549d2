"""What the planner looks at: the robot's cameras, or the simulation's blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from rclpy.node import Node

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.camera_source import CameraSource
from dream_vla_ros.nodes.policy.inputs import fresh_state
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.parameters import ParameterError
from dream_vla_ros.planning.interfaces import Observation
from dream_vla_ros.planning.terms import State
from dream_vla_ros.policy.frames import MissingInputError
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.state_history import StateUnknownError


class Senses(Protocol):
    """Looks."""

    def look(self, newer_than_ns: int) -> Observation:
        """Return what is seen now.

        :param newer_than_ns: It must have been captured later than this (ROS time).
        :raises MissingInputError: Naming what is missing or too old.
        """
        ...

    def destroy(self) -> None:
        """Unsubscribe."""
        ...


class CameraSenses:
    """The newest images that belong together.

    :param names: Which cameras, in the order the model wants them; none takes all.
    :param states: The arm's state, if it is to be looked at, too.
    :raises ParameterError: If the robot has no such camera.
    """

    def __init__(
        self, node: Node, embodiment: Embodiment, names: Sequence[str], states: StateSource | None = None
    ) -> None:
        by_name = {camera.name: camera for camera in embodiment.cameras}
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise ParameterError(
                f"parameter 'cameras' names '{unknown[0]}', but the robot has {', '.join(by_name)}"
            )
        self._names = tuple(names) or tuple(by_name)
        self._node, self._embodiment, self._states = node, embodiment, states
        chosen = replace(embodiment, cameras=tuple(by_name[name] for name in self._names))
        self._source = CameraSource(node, chosen)

    def look(self, newer_than_ns: int) -> Observation:
        """Return the newest images, and the state of the arm at their capture where that is wanted."""
        known_until_ns = None
        if self._states is not None:
            fresh_state(self._states, self._embodiment, self._node)
            known_until_ns = self._states.known_until_ns()
        images, stamps = self._source.latest(newer_than_ns, known_until_ns)
        stamp_ns, state = min(stamps.values()), None
        if self._states is not None:
            try:
                state = self._states.at(stamp_ns)
            except StateUnknownError as unknown:
                raise MissingInputError(str(unknown)) from unknown
        return Observation(tuple(images[name] for name in self._names), stamp_ns, state)

    def destroy(self) -> None:
        """Unsubscribe."""
        self._source.destroy()


class TableSenses:
    """The simulation's blocks and arm, for the oracle; no images."""

    def __init__(self, node: Node, embodiment: Embodiment, states: StateSource) -> None:
        # Brings the policy node's libraries, which a planner with a model does not need.
        from dream_vla_ros.nodes.policy.expert_node import SceneObserver

        self._observer = SceneObserver(node, embodiment, states, lambda: None)
        self._state: State = frozenset()

    @property
    def state(self) -> State:
        """The atoms that were true at the last look."""
        return self._state

    def look(self, newer_than_ns: int) -> Observation:
        """Read arm and blocks."""
        scene = self._observer.observe("", newer_than_ns)
        self._state = symbols(scene.table)
        return Observation((), scene.oldest_stamp_ns)

    def destroy(self) -> None:
        """Unsubscribe."""
        self._observer.destroy()
