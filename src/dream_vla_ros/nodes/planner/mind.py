"""Who answers and plans: a Dream-VL checkpoint, or the simulation's own state. Needs no ROS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dream_vla_ros.planning.domain import Scene
from dream_vla_ros.planning.errors import PlanningError, ProblemError
from dream_vla_ros.planning.goals import goal_from_words
from dream_vla_ros.planning.grounding import Thresholds, VisualGrounder
from dream_vla_ros.planning.interfaces import Observation, TrueState, VisionLanguageModel
from dream_vla_ros.planning.oracle import Oracle
from dream_vla_ros.planning.outcomes import Answer, AnswerCode
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.terms import Atom, Literal
from dream_vla_ros.sim.symbols import DOMAIN, UnknownTaskError, goal_in_words

if TYPE_CHECKING:
    from dream_vla_ros.nodes.planner.model import DreamVlModel

TRUTH = "simulator truth"


class Asker(Protocol):
    """Answers about one scene, by atoms or in words."""

    def ground(self, atoms: Sequence[Atom], observation: Observation) -> list[Answer]:
        """Answer for each atom whether it holds."""
        ...

    def ask(self, questions: Sequence[str], observation: Observation) -> list[Answer]:
        """Answer questions in words."""
        ...


class Mind(Protocol):
    """Whoever answers and plans."""

    name: str

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know about it."""
        ...

    @property
    def reads_state(self) -> bool:
        """Whether what it is shown has to hold the measured state of the arm."""
        ...

    @property
    def constrained(self) -> bool:
        """Whether what it writes is kept within a grammar."""
        ...

    @property
    def judges_words(self) -> bool:
        """Whether it can say of a task in words alone that it is done."""
        ...

    def asker(self, scene: Scene, thresholds: Thresholds) -> Asker:
        """Return who answers about a scene.

        :raises PlanningError: If it knows nothing of the scene's domain.
        """
        ...

    def writer(self, problem: Problem) -> VisionLanguageModel:
        """Return who writes plans for a problem."""
        ...

    def goal(self, scene: Scene, task: str, observation: Observation) -> tuple[Literal, ...]:
        """Put a task in words into predicates.

        :raises PlanningError: If that cannot be done, with the reason.
        """
        ...

    def begin(self, check: Callable[[], None]) -> None:
        """Begin a task.

        :param check: To be called now and then while thinking; what it raises ends the task.
        """
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class DreamVlMind:
    """A Dream-VL checkpoint answers and plans from images.

    :param constrained: Whether what it writes is kept within a grammar.
    """

    judges_words = True

    def __init__(self, model: DreamVlModel, *, constrained: bool) -> None:
        self.name = model.name
        self.constrained = constrained
        self._model = model

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know about it."""
        return self._model.notes

    @property
    def reads_state(self) -> bool:
        """Whether it answers by the measured state of the arm, too."""
        return self._model.reads_state

    def asker(self, scene: Scene, thresholds: Thresholds) -> Asker:
        """Return the model as grounder."""
        return VisualGrounder(self._model, scene, thresholds, self._model.calibration)

    def writer(self, problem: Problem) -> VisionLanguageModel:
        """Return the model."""
        return self._model

    def goal(self, scene: Scene, task: str, observation: Observation) -> tuple[Literal, ...]:
        """Have the model put a task in words into predicates."""
        return goal_from_words(self._model, scene, task, observation, constrained=self.constrained)

    def begin(self, check: Callable[[], None]) -> None:
        """Begin a task with the seed's first draw."""
        self._model.check = check
        self._model.reset()

    def close(self) -> None:
        """Free the model's memory."""
        self._model.close()


class OracleMind:
    """The simulation's own state answers, and a classical planner writes the plans."""

    name = "oracle"
    constrained = False
    judges_words = False
    reads_state = False
    notes = ("the oracle reads the simulation's own state; no model and no image is involved",)

    def __init__(self, world: TrueState) -> None:
        self._world = world

    def asker(self, scene: Scene, thresholds: Thresholds) -> Asker:
        """Return who answers about a scene of the domain ``tabletop``.

        :raises PlanningError: If it is another domain's.
        """
        if scene.domain.name != DOMAIN:
            raise ProblemError(
                f"the oracle knows the domain '{DOMAIN}' only, not '{scene.domain.name}': set the parameter "
                "'answers' to dream_vl"
            )
        return TruthAsker(scene, self._world)

    def writer(self, problem: Problem) -> VisionLanguageModel:
        """Return a planner that knows the true state."""
        return Oracle(problem, self._world)

    def goal(self, scene: Scene, task: str, observation: Observation) -> tuple[Literal, ...]:
        """Put instructions of the tabletop into predicates."""
        try:
            return goal_in_words(task)
        except UnknownTaskError as error:
            raise PlanningError(str(error)) from error

    def begin(self, check: Callable[[], None]) -> None:
        """Do nothing: it does not think for long."""

    def close(self) -> None:
        """Do nothing: it holds nothing."""


@dataclass(frozen=True)
class TruthAsker:
    """Reads answers off the simulation; knows the questions of one scene's domain."""

    scene: Scene
    world: TrueState

    def ground(self, atoms: Sequence[Atom], observation: Observation) -> list[Answer]:
        """Answer for each atom whether it holds."""
        state = self.world.state
        return [self._answer(str(atom), atom in state, observation) for atom in atoms]

    def ask(self, questions: Sequence[str], observation: Observation) -> list[Answer]:
        """Answer the questions of the domain; UNKNOWN to all others."""
        state = self.world.state
        there = {name for atom in state for name in atom.arguments}
        known = {_plain(self.scene.question(atom)): atom in state for atom in self.scene.askable_atoms()}
        for name in self.scene.objects:
            presence = self.scene.presence_question(name)
            if presence:
                known[_plain(presence)] = name in there
        return [self._answer(question, known.get(_plain(question)), observation) for question in questions]

    def _answer(self, query: str, holds: bool | None, observation: Observation) -> Answer:
        if holds is None:
            return Answer(
                query,
                AnswerCode.UNKNOWN,
                math.nan,
                False,
                observation.stamp_ns,
                f"the oracle knows the questions of the domain '{self.scene.domain.name}' only, for example "
                f"'{self._example()}'",
            )
        code = AnswerCode.YES if holds else AnswerCode.NO
        return Answer(query, code, float(holds), False, observation.stamp_ns, TRUTH)

    def _example(self) -> str:
        atoms = self.scene.askable_atoms()
        return self.scene.question(atoms[0]) if atoms else ""


def _plain(question: str) -> str:
    return " ".join(question.lower().replace("?", " ").replace(" the ", " ").split())
