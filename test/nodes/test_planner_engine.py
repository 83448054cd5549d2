"""Planning and acting on a robot that is a symbolic simulation: what is told, what is asked, how it ends."""

from __future__ import annotations

import threading
import time

import pytest

from dream_vla_ros.nodes.planner.engine import PlannerEngine
from dream_vla_ros.nodes.planner.goal import TaskRequest, TaskRun
from dream_vla_ros.nodes.planner.mind import OracleMind
from dream_vla_ros.nodes.planner.parameters import Mode, PlannerParameters
from dream_vla_ros.planning.errors import PlanningError
from dream_vla_ros.planning.grounding import VisualGrounder
from dream_vla_ros.planning.interfaces import Execution, ExecutionStatus, Observation
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.planning.outcomes import ActionCode, AnswerCode, Stage, TaskCode
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.symbolic_environment import SymbolicEnvironment
from dream_vla_ros.planning.terms import Atom
from dream_vla_ros.planning.transition import transition_model
from dream_vla_ros.policy.frames import MissingInputError

COLOURS = ("red", "blue", "green")
PATIENCE_S = 0.3
LONG_PATIENCE_S = 60.0


class Robot:
    """A table that is nothing but its symbols; carries out instructions, and is looked at."""

    def __init__(self):
        self.domain = load_domain("tabletop")
        start = frozenset(
            Atom(name, (colour,)) for colour in COLOURS for name in ("ontable", "clear", "onleft")
        )
        self.problem = Problem.create(self.domain, dict.fromkeys(COLOURS, "block"), [], start)
        self.world = SymbolicEnvironment(self.problem)
        self.instructions = []
        self.questions = []
        self.blind = False
        self.blind_looks = 0
        self.looked_for_newer_than = []
        self.now = 1000

    @property
    def state(self):
        return self.world.state

    def look(self, newer_than_ns):
        self.looked_for_newer_than.append(newer_than_ns)
        self.blind_looks -= 1
        if self.blind or self.blind_looks >= 0:
            raise MissingInputError("no image on 'camera'")
        self.now += 10
        return Observation((), self.now)

    def destroy(self):
        pass

    def carry_out(self, instruction, question, limit_s, patience_s, run):
        self.instructions.append(instruction)
        self.questions.append(question)
        for action in transition_model(self.problem).actions:
            if self.problem.scene.instruction(action) == instruction:
                return self.world.execute(action, instruction)
        raise AssertionError(instruction)


@pytest.fixture
def robot():
    return Robot()


def engine_of(robot, mind=None, patience_s=PATIENCE_S, **parameters):
    settings = PlannerParameters(**parameters)
    return PlannerEngine(mind or OracleMind(robot), robot, lambda: settings, lambda: robot.now, patience_s)


def task(words="", *predicates, **more):
    return TaskRun(TaskRequest(words, predicates, more.pop("domain", ""), more.pop("mode", None), **more))


def execute(robot, run, carry_out=None, **parameters):
    told = []
    result = engine_of(robot, **parameters).execute(run, carry_out or robot.carry_out, told.append)
    return result, told


@pytest.mark.parametrize("mode", list(Mode))
def test_a_task_in_words_becomes_instructions_until_it_is_seen_to_be_done(robot, mode):
    result, told = execute(robot, task("stack red on blue and blue on green", mode=mode))
    assert result.code is TaskCode.GOAL_REACHED, result.message
    assert robot.instructions == [
        "put the blue block on the green block",
        "put the red block on the blue block",
    ]
    assert result.action_accuracy == 1.0
    assert [progress.stage for progress in told].count(Stage.EXECUTING) >= 1
    # What is looked at after an action was captured after it.
    assert max(robot.looked_for_newer_than) > 1000


def test_the_policy_may_be_given_the_first_effect_as_a_question(robot):
    execute(robot, task("", "(on red blue)"), success_questions=True)
    assert robot.questions == ["Is the red block on top of the blue block?"]
    robot.questions.clear()
    execute(robot, task("", "(on blue red)"))
    assert set(robot.questions) <= {""}


def test_an_action_without_effect_is_tried_again_until_the_steps_run_out(robot):
    def idle(instruction, *_):
        robot.instructions.append(instruction)
        return Execution(ExecutionStatus.DONE)

    result, _ = execute(robot, task("", "(on red blue)", max_steps=3), idle)
    assert result.code is TaskCode.STEPS_EXHAUSTED
    assert len(robot.instructions) == 3
    assert {record.code for record in result.actions} == {ActionCode.EFFECTS_MISSING}
    assert result.action_accuracy == 0.0


def test_a_policy_that_keeps_failing_ends_the_task(robot):
    result, _ = execute(
        robot,
        task("", "(on red blue)"),
        lambda *_: Execution(ExecutionStatus.FAULT, "the policy ended with fault"),
        max_faults=2,
    )
    assert result.code is TaskCode.EXECUTION_FAULT
    assert "2 actions in a row" in result.message
    assert len(result.actions) == 2


def test_an_interruption_ends_the_task_with_its_reason_and_what_was_done(robot):
    run = task("stack red on blue and blue on green")

    def cancelled(instruction, *rest):
        if robot.instructions:
            run.interrupt(TaskCode.CANCELED, "canceled by the client")
            run.check()
        return robot.carry_out(instruction, *rest)

    result, _ = execute(robot, run, cancelled)
    assert (result.code, result.message) == (TaskCode.CANCELED, "canceled by the client")
    assert len(result.actions) == 1
    assert run.canceled
    # The first reason stays.
    run.interrupt(TaskCode.SHUTDOWN, "later")
    assert run.canceled


def test_questions_are_answered_while_the_arm_moves_and_not_while_a_plan_is_made(robot):
    engine = engine_of(robot)
    answered = []

    def asks(instruction, *rest):
        thread = threading.Thread(target=lambda: answered.extend(engine.answer([], ["(on red blue)"], "")))
        thread.start()
        thread.join(10.0)
        assert not thread.is_alive()
        return robot.carry_out(instruction, *rest)

    result = engine.execute(task("", "(on red blue)"), asks, lambda _: None)
    assert result.code is TaskCode.GOAL_REACHED
    assert [answer.code for answer in answered] == [AnswerCode.NO]


def test_blindness_ends_the_task_only_when_it_lasts(robot):
    robot.blind = True
    started = time.monotonic()
    result, _ = execute(robot, task("", "(on red blue)"))
    assert result.code is TaskCode.STALE_INPUT
    assert "camera" in result.message
    assert time.monotonic() - started >= PATIENCE_S

    robot.blind, robot.blind_looks = False, 4
    result, _ = execute(robot, task("", "(on red blue)"), patience_s=LONG_PATIENCE_S)
    assert result.code is TaskCode.GOAL_REACHED
    assert robot.blind_looks < 0


def test_a_question_waits_for_images_as_a_task_does(robot):
    robot.blind_looks = 4
    (answer,) = engine_of(robot, patience_s=LONG_PATIENCE_S).answer([], ["(on red blue)"], "")
    assert answer.code is AnswerCode.NO
    robot.blind = True
    with pytest.raises(MissingInputError, match="camera"):
        engine_of(robot).answer([], ["(on red blue)"], "")


def test_plans_are_made_without_acting(robot):
    engine = engine_of(robot)
    for mode in Mode:
        result = engine.plan(task("", "(on red blue)", "(on blue green)", mode=mode), lambda _: None)
        assert result.code is TaskCode.GOAL_REACHED
        assert [str(action) for action in result.plan] == ["put-on(blue, green)", "put-on(red, blue)"]
        assert result.belief
    assert not robot.instructions


class Scripted:
    """A model that says what it was told to say, about a robot it sees through."""

    name = "scripted"
    notes = ()
    constrained = False
    judges_words = True

    def __init__(self, robot, *texts):
        self.robot = robot
        self.texts = list(texts)
        self.asked = []
        self.prompts = []

    def asker(self, scene, thresholds):
        self.atoms = {scene.question(atom): atom for atom in scene.askable_atoms()}
        return VisualGrounder(self, scene, thresholds)

    def writer(self, problem):
        return self

    def goal(self, scene, words, observation):
        raise PlanningError("no idea")

    def begin(self, check):
        pass

    def close(self):
        pass

    def generate(self, messages, images, *, grammar=None):
        self.prompts.append(str(messages))
        return self.texts.pop(0)

    def yes_probabilities(self, questions, observation):
        self.asked += questions
        there = {name for atom in self.robot.state for name in atom.arguments}
        values = []
        for question in questions:
            if question in self.atoms:
                values.append(0.9 if self.atoms[question] in self.robot.state else 0.1)
            elif question.startswith("Is there"):
                values.append(0.9 if any(name in question for name in there) else 0.1)
            else:
                values.append(0.9 if self.robot.instructions else 0.1)
        return values


def test_a_models_mistakes_are_fed_back_and_its_own_judgement_ends_a_task_in_words(robot):
    good = '{"plan": [{"action": "put-on", "parameters": {"block": "red", "base": "blue"}}]}'
    mind = Scripted(robot, "I would rather not.", '{"plan": [{"action": "fly", "parameters": {}}]}', good)
    told = []
    result = engine_of(robot, mind).execute(
        task("make it nice", mode=Mode.PLANNER), robot.carry_out, told.append
    )
    assert result.code is TaskCode.GOAL_REACHED, result.message
    assert [record.code for record in result.actions] == [
        ActionCode.INVALID,
        ActionCode.INVALID,
        ActionCode.SUCCEEDED,
    ]
    assert "there is no action" in mind.prompts[-1]
    assert 'Has this been done: "make it nice"?' in mind.asked
    assert result.action_accuracy == pytest.approx(1 / 3)


def test_a_task_that_the_model_cannot_put_into_predicates_is_refused(robot):
    result, _ = execute(robot, task("make it nice", mode=Mode.GROUNDER), mind=Scripted(robot))
    assert result.code is TaskCode.REFUSED
    assert "no idea" in result.message


def test_a_written_plan_that_cannot_work_is_no_plan_and_says_where(robot):
    text = (
        '{"plan": [{"action": "pick-up", "parameters": {"block": "green"}}, '
        '{"action": "put-on", "parameters": {"block": "red", "base": "blue"}}]}'
    )
    result = engine_of(robot, Scripted(robot, text)).plan(
        task("", "(on red blue)", mode=Mode.PLANNER), lambda _: None
    )
    assert result.code is TaskCode.NO_PLAN
    assert "action 2" in result.message
    assert len(result.plan) == 2
    assert result.text == text


def test_a_predicate_is_asked_for_without_its_negation(robot):
    with pytest.raises(PlanningError, match="without the not"):
        engine_of(robot).answer([], ["(not (on red blue))"], "")
