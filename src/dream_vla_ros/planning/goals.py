"""What a task wants, and when it is done, judged by looking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .domain import Scene
from .executor import ActionExecutor
from .goal_text import parse_goal
from .grammar import goal_grammar
from .interfaces import Environment, Observation, VisionLanguageModel
from .outcomes import Answer, AnswerCode
from .problem import Problem
from .prompts import goal_messages
from .terms import Literal


def goal_from_words(
    model: VisionLanguageModel,
    scene: Scene,
    task: str,
    observation: Observation,
    *,
    constrained: bool = False,
) -> tuple[Literal, ...]:
    """Have the model put a task in words into predicates.

    :param constrained: Let the model write nothing but goals over the scene's objects.
    :raises PlanParseError: If what it writes is no goal, saying why.
    """
    messages = goal_messages(scene, task, images=len(observation.images))
    grammar = goal_grammar(scene) if constrained else None
    return parse_goal(model.generate(messages, observation.images, grammar=grammar), scene)


class GoalCheck(Protocol):
    """Says what of a goal does not hold yet."""

    def statements(self) -> tuple[str, ...]:
        """Return the parts of the goal, in words."""
        ...

    def unmet(self) -> tuple[str, ...]:
        """Look, and return the parts of the goal that were not seen to hold, in words."""
        ...


@dataclass(frozen=True)
class PredicateGoal:
    """A goal in predicates: each of its atoms is asked for."""

    executor: ActionExecutor

    def statements(self) -> tuple[str, ...]:
        """Return the parts of the goal, in words."""
        return self._problem.goal_statements()

    def unmet(self) -> tuple[str, ...]:
        """Look, and return the parts of the goal that were not seen to hold, in words."""
        answers = self.executor.look(self._problem.goal_atoms)
        state = self.executor.belief.state
        unclear = [
            f"it is not clear whether {self._problem.scene.statement_of(atom)}"
            for atom, answer in answers.items()
            if answer.code is AnswerCode.UNKNOWN
        ]
        return (*self._problem.unmet(state), *unclear)

    @property
    def _problem(self) -> Problem:
        return self.executor.problem


class Asker(Protocol):
    """Answers questions in words, as :class:`~.grounding.VisualGrounder` does."""

    def ask(self, questions: Sequence[str], observation: Observation) -> list[Answer]:
        """Answer each question about what was observed."""
        ...


@dataclass(frozen=True)
class WordGoal:
    """A goal in words only: the model is asked whether it is done."""

    task: str
    grounder: Asker
    environment: Environment

    def statements(self) -> tuple[str, ...]:
        """Return the task."""
        return (self.task,)

    def unmet(self) -> tuple[str, ...]:
        """Look, and return the task unless it was seen to be done."""
        question = f'Has this been done: "{self.task}"?'
        (answer,) = self.grounder.ask([question], self.environment.observe())
        return () if answer.code is AnswerCode.YES else (self.task,)
