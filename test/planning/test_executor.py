from __future__ import annotations

import math

import pytest

from dream_vla_ros.planning.grounding import VisualGrounder
from dream_vla_ros.planning.interfaces import Execution, ExecutionStatus, Observation
from dream_vla_ros.planning.outcomes import ActionCode, Answer, AnswerCode
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.symbolic_environment import SymbolicEnvironment
from dream_vla_ros.planning.terms import Atom, GroundAction

MOVE = GroundAction("moveblock", ("r", "c2"))


class Idle:
    """An environment in which nothing ever changes."""

    def __init__(self, world: SymbolicEnvironment, execution: Execution) -> None:
        self.state = world.state
        self.instructions: list[str] = []
        self._execution = execution

    def observe(self) -> Observation:
        return Observation()

    def execute(self, action: GroundAction, instruction: str) -> Execution:
        self.instructions.append(instruction)
        return self._execution


def test_an_action_that_works_succeeds(two_columns: Problem, make_executor):
    world = SymbolicEnvironment(two_columns)
    executor = make_executor(two_columns, world)
    executor.look_at_all()
    record = executor.carry_out(MOVE)
    assert (record.code, record.message) == (ActionCode.SUCCEEDED, "done")
    assert record.instruction == 'move the red block to the column labelled "c2"'
    askable = set(two_columns.scene.askable_atoms())
    assert executor.belief.state & askable == world.state & askable


def test_what_is_not_possible_is_not_sent(two_columns: Problem, make_executor):
    world = Idle(SymbolicEnvironment(two_columns), Execution(ExecutionStatus.DONE))
    record = make_executor(two_columns, world).carry_out(GroundAction("moveblock", ("b", "c2")))
    assert record.code is ActionCode.PRECONDITIONS_MISSING
    assert "it needs that the blue block is the topmost block" in record.message
    assert world.instructions == []
    assert record.instruction == ""


def test_what_did_not_happen_is_told(two_columns: Problem, make_executor):
    world = Idle(SymbolicEnvironment(two_columns), Execution(ExecutionStatus.DONE, duration_s=1.5))
    record = make_executor(two_columns, world).carry_out(MOVE)
    assert record.code is ActionCode.EFFECTS_MISSING
    assert 'the red block is not in the column labelled "c2"' in record.message
    assert record.duration_s == 1.5


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (ExecutionStatus.FAULT, ActionCode.EXECUTION_FAULT),
        (ExecutionStatus.IMPOSSIBLE, ActionCode.PRECONDITIONS_MISSING),
    ],
)
def test_what_the_policy_says_is_handed_on(two_columns: Problem, make_executor, status, code):
    world = Idle(SymbolicEnvironment(two_columns), Execution(status, "it is stuck", 2.0))
    executor = make_executor(two_columns, world)
    executor.look_at_all()
    before = executor.belief.state
    record = executor.carry_out(MOVE)
    assert record.code is code
    assert "it is stuck" in record.message
    assert executor.belief.state == before


class Doubtful:
    """Does not know about one atom for a number of looks."""

    def __init__(self, world: SymbolicEnvironment, atom: Atom, times: float) -> None:
        self.asked = 0
        self._world, self._atom, self._times = world, atom, times

    def ground(self, atoms, observation):
        def answer(atom: Atom) -> Answer:
            if atom == self._atom:
                self.asked += 1
                if self.asked <= self._times:
                    return Answer(str(atom), AnswerCode.UNKNOWN, 0.5, message="?")
            return Answer(str(atom), AnswerCode(int(atom in self._world.state)), 1.0)

        return [answer(atom) for atom in atoms]


@pytest.mark.parametrize(
    ("times", "code"), [(2, ActionCode.SUCCEEDED), (math.inf, ActionCode.EFFECTS_MISSING)]
)
def test_what_is_not_clear_is_looked_at_again(two_columns: Problem, make_executor, times: float, code):
    world = SymbolicEnvironment(two_columns)
    effect = Atom("incolumn", ("r", "c2"))
    # Asked once before the action, then up to twice after it.
    grounder = Doubtful(world, effect, times)
    executor = make_executor(two_columns, world, grounder)
    record = executor.carry_out(MOVE)
    assert record.code is code
    assert grounder.asked == 3
    assert effect in executor.belief.state
    if code is ActionCode.EFFECTS_MISSING:
        assert "it is not clear whether the red block is in the column" in record.message


def test_questions_are_those_that_matter(two_columns: Problem, make_executor, scripted):
    world = SymbolicEnvironment(two_columns)
    model = scripted(two_columns, world)
    executor = make_executor(two_columns, world, VisualGrounder(model, two_columns.scene))
    executor.carry_out(MOVE)
    assert "Is the red block the topmost block of its column?" in model.asked
    assert not [question for question in model.asked if "directly to the left" in question]
    assert 'Is the blue block in the column labelled "c3"?' not in model.asked


def test_a_lie_about_the_scene_is_believed(two_columns: Problem, make_executor, scripted):
    world = SymbolicEnvironment(two_columns)
    model = scripted(two_columns, world)
    model.lies["(clear r)"] = 0.1
    executor = make_executor(two_columns, world, VisualGrounder(model, two_columns.scene))
    assert executor.carry_out(MOVE).code is ActionCode.PRECONDITIONS_MISSING
    assert world.state == two_columns.initial


def test_long_lists_of_reasons_are_cut(household, make_executor, read_atoms):
    objects = {"a": "movable"} | {f"m{n}": "movable" for n in range(9)}
    held = read_atoms("reachable a", *(f"holding m{n}" for n in range(9)))
    problem = Problem.create(household, objects, [], held)
    record = make_executor(problem, SymbolicEnvironment(problem)).carry_out(GroundAction("grasp", ("a",)))
    assert record.message.count("not holding") == 4
    assert "and 5 more" in record.message
