"""How an instruction goes and ends, as a client sees it; needs no ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dream_vla_ros.geometry import Pose


class Outcome(IntEnum):
    """How an instruction ended: the codes of ``InstructionOutcome.msg``, and one only a client can tell."""

    UNKNOWN = 0
    SUCCEEDED = 1
    SETTLED = 2
    TIME_LIMIT = 3
    CANCELED = 4
    PREEMPTED = 5
    EMERGENCY_STOP = 6
    STALE_INPUT = 7
    FAULT = 8
    REFUSED = 9
    SHUTDOWN = 10
    POLICY_LOST = 255
    """The policy died, restarted or fell silent; no outcome will come. Never sent over the wire."""

    @property
    def words(self) -> str:
        """The outcome as a person reads it, for example ``time limit``."""
        return self.name.lower().replace("_", " ")


class Progress(IntEnum):
    """What the policy is doing: the states of ``ExecuteInstruction``'s feedback."""

    WAITING_FOR_INPUT = 0
    PREDICTING = 1
    EXECUTING = 2

    @property
    def words(self) -> str:
        """The state as a person reads it, for example ``waiting for input``."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Feedback:
    """News of a running instruction.

    :param progress: What the policy is doing.
    :param message: What it is waiting for; empty when for nothing.
    :param elapsed_s: Time since acceptance.
    :param chunks: Action chunks published so far.
    :param latency_s: Image capture to publication of the last chunk.
    :param pose: Newest measured end-effector pose in the base frame; None when none was received.
    :param success_probability: Last probability of yes for the success question; NaN when none was asked.
    """

    progress: Progress
    message: str = ""
    elapsed_s: float = 0.0
    chunks: int = 0
    latency_s: float = 0.0
    pose: Pose | None = None
    success_probability: float = math.nan


@dataclass(frozen=True)
class Result:
    """How an instruction ended.

    :param outcome: The outcome.
    :param message: The reason in words.
    :param duration_s: Time from acceptance to the outcome.
    :param chunks: Action chunks published for the instruction.
    :param final_pose: End-effector pose at the end, base frame; None when none was received.
    """

    outcome: Outcome
    message: str = ""
    duration_s: float = 0.0
    chunks: int = 0
    final_pose: Pose | None = None

    def __str__(self) -> str:
        return f"{self.outcome.words}: {self.message}" if self.message else self.outcome.words
