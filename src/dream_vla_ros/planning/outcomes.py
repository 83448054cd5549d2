"""What came of questions, actions and tasks. Codes are those of the messages in ``dream_vla_msgs``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from .terms import GroundAction


class AnswerCode(IntEnum):
    """``GroundingAnswer.answer``."""

    NO = 0
    YES = 1
    UNKNOWN = 2


class ActionCode(IntEnum):
    """``SymbolicActionResult.code``."""

    UNKNOWN = 0
    SUCCEEDED = 1
    EFFECTS_MISSING = 2
    PRECONDITIONS_MISSING = 3
    INVALID = 4
    EXECUTION_FAULT = 5


class TaskCode(IntEnum):
    """``TaskOutcome.code``."""

    UNKNOWN = 0
    GOAL_REACHED = 1
    STEPS_EXHAUSTED = 2
    NO_PLAN = 3
    CANCELED = 4
    EMERGENCY_STOP = 5
    EXECUTION_FAULT = 6
    STALE_INPUT = 7
    REFUSED = 8
    SHUTDOWN = 9


class Stage(IntEnum):
    """``ExecuteTask`` feedback's ``state``."""

    WAITING_FOR_IMAGES = 0
    GROUNDING = 1
    PLANNING = 2
    EXECUTING = 3


class TaskInterrupted(Exception):
    """Ends a task from within: raised by an environment or a model, turned into the task's outcome."""

    def __init__(self, code: TaskCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Answer:
    """The answer to one question about the scene: ``GroundingAnswer``.

    :param query: The question, or the atom in PDDL.
    :param probability: Of yes against no; NaN where the question could not be asked.
    :param stamp_ns: Capture time of the oldest image it was read from; None where there is none.
    :param message: Why it is unknown, or where it is from if no image; empty otherwise.
    """

    query: str
    code: AnswerCode
    probability: float = math.nan
    calibrated: bool = False
    stamp_ns: int | None = None
    message: str = ""


@dataclass(frozen=True)
class ActionRecord:
    """One action that was tried and what came of it: ``SymbolicActionResult``.

    :param action: The action; where the model's could not be understood, its words as far as there were any.
    :param message: The outcome in words, as it is fed back to the model.
    :param instruction: What the policy was told; empty if nothing.
    :param duration_s: From instruction to outcome.
    """

    action: GroundAction
    code: ActionCode
    message: str
    instruction: str = ""
    duration_s: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether its effects were seen to hold."""
        return self.code is ActionCode.SUCCEEDED


@dataclass(frozen=True)
class Progress:
    """Where a task is: the feedback of ``ExecuteTask``.

    :param step: Actions tried so far.
    :param plan: What is to be done, the action at hand first.
    :param last: The last action tried.
    :param belief: What is believed, with the answers behind it.
    """

    stage: Stage
    step: int
    plan: Sequence[GroundAction] = ()
    last: ActionRecord | None = None
    belief: Sequence[Answer] = ()


@dataclass(frozen=True)
class TaskResult:
    """How a task ended: ``TaskOutcome`` and the result of ``ExecuteTask``.

    :param message: The reason in words; may be empty where the goal was reached.
    :param actions: Every action tried, in order.
    :param belief: What is believed at the end.
    :param plans: How often a plan was made.
    :param texts: What the model wrote, unparsed.
    """

    code: TaskCode
    message: str
    actions: tuple[ActionRecord, ...] = ()
    belief: tuple[Answer, ...] = ()
    plans: int = 0
    texts: tuple[str, ...] = field(default=(), repr=False)

    @property
    def action_accuracy(self) -> float:
        """Share of the tried actions that succeeded; NaN when none was tried."""
        if not self.actions:
            return math.nan
        return sum(record.succeeded for record in self.actions) / len(self.actions)
