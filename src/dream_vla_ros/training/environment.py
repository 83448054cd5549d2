"""A world to try a policy in, as small as gym's: reset, step, and look.

What a benchmark's environment needs around it is this: its observation read as :class:`RobotState` and images
named as the embodiment names its cameras, and the controller's command, which is in SI units and base axes,
turned into its own action (``ActionCodec.to_actions`` does that for LIBERO's and SimplerEnv's conventions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from dream_vla_ros.control import Command
from dream_vla_ros.images import RGBImage
from dream_vla_ros.robot_state import RobotState

TaskT = TypeVar("TaskT", contravariant=True)
ASKED = "asked"
"""The goal that the words speak of, among the goals that are judged."""


@dataclass(frozen=True, eq=False)
class Moment:
    """What an environment tells at each step; images cost more and are looked at on their own.

    :param time_s: Simulated time since the reset.
    :param state: The robot; stamps are that time on any clock that the environment likes.
    :param reached: Names of the judged goals that hold now, ``ASKED`` for the one that the words speak of.
    """

    time_s: float
    state: RobotState
    reached: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ending:
    """What an environment knows of an episode besides its success.

    :param notes: For the record, as JSON can hold them.
    """

    notes: Mapping[str, Any] = field(default_factory=dict)


class Environment(Protocol[TaskT]):
    """A world with a robot, a task at a time, and success checks."""

    @property
    def period_s(self) -> float:
        """Time one step takes, which is the controller's period."""
        ...

    def reset(self, task: TaskT, seed: int) -> Moment:
        """Begin an episode.

        :param seed: Decides everything that is drawn.
        :raises ValueError: If the task cannot be laid out.
        """
        ...

    def step(self, command: Command) -> Moment:
        """Let one period pass.

        :param command: The controller's: a pose to reach and the motion to it; ``send`` false leaves the arm
            as it is, a gripper of None leaves the gripper.
        """
        ...

    def look(self) -> Mapping[str, RGBImage]:
        """Return what all cameras see now, (height, width, 3) uint8 RGB by the embodiment's names."""
        ...

    def end(self) -> Ending:
        """Return what is known of the episode now that it is over."""
        ...

    def close(self) -> None:
        """Free graphics and processes."""
        ...
