"""What a policy is: from an observation to motion in SI units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.robot_state import RobotState

Seen = TypeVar("Seen", contravariant=True)


class PolicyError(RuntimeError):
    """A policy that cannot be loaded or cannot predict; the message names the file or parameter at fault."""


@dataclass(frozen=True, eq=False)
class PolicyResult:
    """What a policy wants to do next.

    :param motion: The steps in SI units.
    :param period_s: Time one step takes.
    :param out_of_range: How many numbers lay beyond the training data and were brought back.
    """

    motion: Motion
    period_s: float
    out_of_range: int = 0


class Policy(Protocol[Seen]):
    """Predicts the next motion from what it sees of the robot; used from one thread at a time."""

    @property
    def name(self) -> str:
        """Name of the checkpoint or other source, for logs and messages."""

    @property
    def objective(self) -> str:
        """Objective of the checkpoint, or ``scripted``."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about this policy on this robot, one sentence each."""

    def infer(self, observation: Seen) -> PolicyResult:
        """Predict the next motion.

        :raises Exception: Of any kind; the caller ends the goal with its message and goes on living.
        """

    def reset(self) -> None:
        """Forget what belongs to the former goal; a new one begins."""

    def close(self) -> None:
        """Free memory and devices; nothing is called afterwards."""


def warm_up_observation(embodiment: Embodiment) -> Observation:
    """Return a made-up observation to run a policy once before any goal, for its first run is slow.

    :param embodiment: Names cameras and joints.
    """
    names = [camera.name for camera in embodiment.cameras]
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    named = embodiment.state
    state = RobotState(
        stamp_ns=0,
        received_ns=0,
        pose=Pose.identity(),
        joints=dict(zip(named.finger_joints, named.finger_open, strict=True)),
        gripper=1.0 if named.finger_joints else None,
    )
    return Observation(
        images=dict.fromkeys(names, image),
        stamps_ns=dict.fromkeys(names, 0),
        state=state,
        instruction="stand still",
    )
