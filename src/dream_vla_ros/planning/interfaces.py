"""What planning needs from the outside: a model that sees, a world that acts, someone who answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dream_vla_ros.robot_state import RobotState

from .grammar import ByteAutomaton
from .outcomes import Answer
from .terms import Atom, GroundAction, State

Image: TypeAlias = NDArray[np.uint8]
"""(height, width, 3), RGB."""

Message: TypeAlias = Mapping[str, Any]
"""One turn of a chat: ``role`` and ``content``, the latter a list of ``{"type": "image"}`` and
``{"type": "text", "text": ...}`` parts, as chat templates take them. Images are given apart, in order."""


@dataclass(frozen=True)
class Observation:
    """What the cameras see at one time.

    :param images: One per camera, in the order the model was trained on; none where nothing can be seen.
    :param stamp_ns: Capture time of the oldest image.
    :param state: The arm as it was measured then; None where nobody asks for it.
    """

    images: tuple[Image, ...] = ()
    stamp_ns: int | None = None
    state: RobotState | None = None


class VisionLanguageModel(Protocol):
    """A model that reads images and text."""

    def generate(
        self, messages: Sequence[Message], images: Sequence[Image], *, grammar: ByteAutomaton | None = None
    ) -> str:
        """Answer a chat.

        :param grammar: What the answer must be; None leaves it free.
        """
        ...

    def yes_probabilities(self, questions: Sequence[str], observation: Observation) -> Sequence[float]:
        """Answer yes/no questions about one scene.

        :returns: Probability of yes against no for each; NaN where there is no answer.
        """
        ...


class ExecutionStatus(Enum):
    """How carrying out an action went, as far as whoever did it can tell."""

    DONE = "done"
    """It was carried out. Whether it worked has to be seen."""
    IMPOSSIBLE = "impossible"
    """The world did not let it be begun."""
    FAULT = "fault"
    """The policy could not carry it out."""


@dataclass(frozen=True)
class Execution:
    """What came of carrying out an action.

    :param message: In words; never empty unless it is done.
    """

    status: ExecutionStatus
    message: str = ""
    duration_s: float = 0.0


class Environment(Protocol):
    """Something that can be looked at and acted in.

    Either method raises :class:`~.outcomes.TaskInterrupted` when the task has to end: cancelled, stopped,
    images missing for too long, policy gone.
    """

    def observe(self) -> Observation:
        """Look: return images taken after all that was done before."""
        ...

    def execute(self, action: GroundAction, instruction: str) -> Execution:
        """Carry out an action and wait until that has ended.

        :param instruction: The action in words.
        """
        ...


class TrueState(Protocol):
    """A world whose state can be read off, as only simulations can."""

    @property
    def state(self) -> State:
        """The atoms that are true now."""
        ...


class Grounder(Protocol):
    """Says which atoms hold."""

    def ground(self, atoms: Sequence[Atom], observation: Observation) -> list[Answer]:
        """Answer for each atom whether it holds in what was observed."""
        ...
