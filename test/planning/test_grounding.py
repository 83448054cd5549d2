from __future__ import annotations

import math

import pytest

from dream_vla_ros.planning.calibration import Calibration
from dream_vla_ros.planning.domain import Domain, Scene
from dream_vla_ros.planning.errors import PlanningError
from dream_vla_ros.planning.grounding import Thresholds, TrueGrounder, VisualGrounder, present_objects
from dream_vla_ros.planning.interfaces import Observation
from dream_vla_ros.planning.outcomes import Answer, AnswerCode
from dream_vla_ros.planning.terms import Atom

SEEN = Observation(stamp_ns=123)
ON = Atom("on", ("red", "blue"))
CLEAR = Atom("clear", ("red",))


class FixedModel:
    def __init__(self, *probabilities: float) -> None:
        self.probabilities = probabilities
        self.questions: list[list[str]] = []

    def generate(self, messages, images, *, grammar=None) -> str:
        raise AssertionError("grounding writes nothing")

    def yes_probabilities(self, questions, observation):
        self.questions.append(list(questions))
        return self.probabilities


@pytest.fixture
def scene(tabletop: Domain) -> Scene:
    return Scene(tabletop, {"red": "block", "blue": "block"})


def test_all_questions_are_asked_at_once(scene: Scene):
    model = FixedModel(0.9, 0.2)
    answers = VisualGrounder(model, scene).ground([ON, CLEAR], SEEN)
    assert model.questions == [
        ["Is the red block on top of the blue block?", "Is the top of the red block free?"]
    ]
    assert answers == [
        Answer("(on red blue)", AnswerCode.YES, 0.9, False, 123),
        Answer("(clear red)", AnswerCode.NO, 0.2, False, 123),
    ]


def test_the_same_question_is_asked_once(scene: Scene):
    model = FixedModel(0.9)
    answers = VisualGrounder(model, scene).ask(["Is it?", "Is it?"], SEEN)
    assert model.questions == [["Is it?"]]
    assert [answer.probability for answer in answers] == [0.9, 0.9]


def test_no_question_is_no_look(scene: Scene):
    assert VisualGrounder(FixedModel(), scene).ground([], SEEN) == []


def test_in_between_it_is_unknown(scene: Scene):
    (answer,) = VisualGrounder(FixedModel(0.55), scene, Thresholds(0.7, 0.3)).ground([ON], SEEN)
    assert answer.code is AnswerCode.UNKNOWN
    assert answer.probability == 0.55
    assert "55%" in answer.message


@pytest.mark.parametrize("probability", [math.nan, 1.5, -0.1, math.inf])
def test_what_is_no_probability_is_unknown(scene: Scene, probability: float):
    (answer,) = VisualGrounder(FixedModel(probability), scene).ground([ON], SEEN)
    assert answer.code is AnswerCode.UNKNOWN
    assert math.isnan(answer.probability)
    assert answer.message


def test_calibration_comes_before_the_decision(scene: Scene):
    grounder = VisualGrounder(FixedModel(0.75), scene, Thresholds(0.7, 0.3), Calibration(3.0, 0.2, 0.01, 99))
    (answer,) = grounder.ground([ON], SEEN)
    assert answer.calibrated
    assert 0.5 < answer.probability < 0.7
    assert answer.code is AnswerCode.UNKNOWN


def test_a_model_that_forgets_a_question_is_found_out(scene: Scene):
    with pytest.raises(PlanningError, match="1 answers to 2 questions"):
        VisualGrounder(FixedModel(0.9), scene).ground([ON, CLEAR], SEEN)


@pytest.mark.parametrize(
    ("probability", "code"),
    [(1.0, "YES"), (0.5, "UNKNOWN"), (0.51, "YES"), (0.49, "NO"), (0.0, "NO")],
)
def test_equal_thresholds_leave_only_the_middle_open(probability: float, code: str):
    assert Thresholds(0.5, 0.5).decide(probability).name == code


@pytest.mark.parametrize(("yes", "no"), [(0.3, 0.7), (1.0, 0.5), (0.5, 0.0), (math.nan, 0.5)])
def test_thresholds_have_to_make_sense(yes: float, no: float):
    with pytest.raises(PlanningError, match="thresholds"):
        Thresholds(yes, no)


def test_the_truth_can_be_read_off_a_simulation():
    class World:
        state = frozenset({ON})

    answers = TrueGrounder(World()).ground([ON, CLEAR], SEEN)
    assert [(a.code, a.probability, a.stamp_ns) for a in answers] == [
        (AnswerCode.YES, 1.0, 123),
        (AnswerCode.NO, 0.0, 123),
    ]


def test_what_is_there_is_asked_for(scene: Scene, household: Domain):
    grounder = VisualGrounder(FixedModel(0.9, 0.1), scene)
    objects, answers = present_objects(scene, lambda questions: grounder.ask(questions, SEEN))
    assert objects == {"red": "block"}
    assert [answer.code for answer in answers] == [AnswerCode.YES, AnswerCode.NO]
    home = Scene(household, {"sink_1": "object"})
    assert present_objects(home, lambda questions: [])[0] == {"sink_1": "object"}
