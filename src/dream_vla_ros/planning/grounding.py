"""Which predicates hold in what the cameras see."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .calibration import Calibration
from .domain import Scene
from .errors import PlanningError
from .interfaces import Observation, TrueState, VisionLanguageModel
from .outcomes import Answer, AnswerCode
from .terms import Atom


@dataclass(frozen=True)
class Thresholds:
    """When a probability of yes is an answer.

    :param yes: From here on it is yes.
    :param no: Up to here it is no; in between it is unknown.
    """

    yes: float = 0.6
    no: float = 0.4

    def __post_init__(self) -> None:
        if not 0.0 < self.no <= self.yes < 1.0:
            raise PlanningError(f"thresholds must be 0 < no <= yes < 1, not no {self.no} and yes {self.yes}")

    def decide(self, probability: float) -> AnswerCode:
        """Turn a probability of yes into an answer."""
        if probability >= self.yes and probability > self.no:  # equal thresholds leave the middle unknown
            return AnswerCode.YES
        if probability <= self.no and probability < self.yes:
            return AnswerCode.NO
        return AnswerCode.UNKNOWN


@dataclass(frozen=True)
class VisualGrounder:
    """Asks a model, all questions of a scene at once.

    :param scene: Puts atoms into words.
    :param calibration: None leaves the probabilities as the model gives them, and says so.
    """

    model: VisionLanguageModel
    scene: Scene
    thresholds: Thresholds = Thresholds()
    calibration: Calibration | None = None

    def ground(self, atoms: Sequence[Atom], observation: Observation) -> list[Answer]:
        """Answer for each atom whether it holds in the images."""
        questions = [self.scene.question(atom) for atom in atoms]
        return self._answer([str(atom) for atom in atoms], questions, observation)

    def ask(self, questions: Sequence[str], observation: Observation) -> list[Answer]:
        """Answer questions in words."""
        return self._answer(questions, questions, observation)

    def _answer(
        self, queries: Sequence[str], questions: Sequence[str], observation: Observation
    ) -> list[Answer]:
        if not questions:
            return []
        # The same question twice is asked once.
        distinct = list(dict.fromkeys(questions))
        given = self.model.yes_probabilities(distinct, observation)
        if len(given) != len(distinct):
            raise PlanningError(f"the model gave {len(given)} answers to {len(distinct)} questions")
        by_question = dict(zip(distinct, (float(value) for value in given), strict=True))
        return [
            self._decide(query, by_question[question], observation.stamp_ns)
            for query, question in zip(queries, questions, strict=True)
        ]

    def _decide(self, query: str, probability: float, stamp_ns: int | None) -> Answer:
        if not 0.0 <= probability <= 1.0:
            message = f"the model gave no probability but {probability}"
            return Answer(query, AnswerCode.UNKNOWN, math.nan, False, stamp_ns, message)
        if self.calibration is not None:
            probability = self.calibration.apply(probability)
        code = self.thresholds.decide(probability)
        message = ""
        if code is AnswerCode.UNKNOWN:
            message = (
                f"yes is {probability:.0%} probable, between {self.thresholds.no} and {self.thresholds.yes}"
            )
        return Answer(query, code, probability, self.calibration is not None, stamp_ns, message)


@dataclass(frozen=True)
class TrueGrounder:
    """Reads the answers off a simulation."""

    world: TrueState

    def ground(self, atoms: Sequence[Atom], observation: Observation) -> list[Answer]:
        """Answer for each atom whether it holds now."""
        state = self.world.state
        return [
            Answer(
                str(atom), AnswerCode(int(atom in state)), float(atom in state), True, observation.stamp_ns
            )
            for atom in atoms
        ]


def present_objects(
    scene: Scene, ask: Callable[[Sequence[str]], Sequence[Answer]]
) -> tuple[dict[str, str], list[Answer]]:
    """Find out which of a scene's objects are there.

    :param ask: Answers questions in words.
    :returns: Type of each object that is there, those included that cannot be asked for; and the answers.
    """
    questions = {name: question for name in scene.objects if (question := scene.presence_question(name))}
    answers = list(ask(list(questions.values())))
    absent = {
        name for name, answer in zip(questions, answers, strict=True) if answer.code is not AnswerCode.YES
    }
    return {name: kind for name, kind in scene.objects.items() if name not in absent}, answers
