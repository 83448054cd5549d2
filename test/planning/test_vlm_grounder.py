from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.errors import PlannerError
from dream_vla_ros.planning.grounding import Thresholds, VisualGrounder
from dream_vla_ros.planning.interfaces import Execution, ExecutionStatus
from dream_vla_ros.planning.oracle import Oracle
from dream_vla_ros.planning.outcomes import ActionCode, Progress, Stage, TaskCode
from dream_vla_ros.planning.planner import ClassicalPlanner
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.session import Limits
from dream_vla_ros.planning.symbolic_environment import SymbolicEnvironment
from dream_vla_ros.planning.terms import GroundAction
from dream_vla_ros.planning.vlm_grounder import VlmGrounder

RED = GroundAction("moveblock", ("r", "c2"))
BLUE = GroundAction("moveblock", ("b", "c3"))


class CountingPlanner(ClassicalPlanner):
    calls = 0

    def plan(self, problem, state):
        CountingPlanner.calls += 1
        return super().plan(problem, state)


@pytest.fixture
def world(two_columns: Problem) -> SymbolicEnvironment:
    return SymbolicEnvironment(two_columns)


def test_a_plan_is_followed_to_the_goal(two_columns: Problem, make_executor, world: SymbolicEnvironment):
    seen: list[Progress] = []
    result = VlmGrounder(make_executor(two_columns, world), report=seen.append).run()
    assert result.code is TaskCode.GOAL_REACHED
    assert [record.action for record in result.actions] == [RED, BLUE]
    assert two_columns.reached(world.state)
    assert result.plans == 2  # the second finds that nothing is left to do
    executing = [progress.plan for progress in seen if progress.stage is Stage.EXECUTING]
    assert executing == [(RED, BLUE), (BLUE,)]
    assert seen[0].stage is Stage.GROUNDING


def test_without_looking_first_what_is_given_is_trusted(two_columns: Problem, make_executor, world, scripted):
    model = scripted(two_columns, world)
    executor = make_executor(
        two_columns, world, VisualGrounder(model, two_columns.scene), given=two_columns.initial
    )
    plan = VlmGrounder(executor, look_first=False).plan()
    assert plan == (RED, BLUE)
    assert model.asked == []


def test_a_block_that_lands_elsewhere_is_found_again(two_columns: Problem, make_executor):
    world = SymbolicEnvironment(two_columns, failure_probability=0.6, rng=np.random.default_rng(3))
    model = Oracle(two_columns, world)
    executor = make_executor(two_columns, world, VisualGrounder(model, two_columns.scene))
    result = VlmGrounder(executor, limits=Limits(steps=60)).run()
    assert result.code is TaskCode.GOAL_REACHED
    assert two_columns.reached(world.state)
    assert sum(record.code is ActionCode.EFFECTS_MISSING for record in result.actions) >= 2


def test_a_wrong_answer_is_corrected_by_looking_again(two_columns: Problem, make_executor, world, scripted):
    model = scripted(two_columns, world)
    model.lies["(on r b)"] = 0.0
    model.lies["(clear b)"] = 1.0
    executor = make_executor(two_columns, world, VisualGrounder(model, two_columns.scene))

    def tell_the_truth(progress: Progress) -> None:
        if progress.last is not None:
            model.lies.clear()

    result = VlmGrounder(executor, report=tell_the_truth, limits=Limits(steps=10)).run()
    assert result.code is TaskCode.GOAL_REACHED
    assert two_columns.reached(world.state)
    # Believing the blue block free, it moved that first, which the world does not let it.
    assert result.actions[0].action == BLUE
    assert result.actions[0].code is ActionCode.PRECONDITIONS_MISSING


def test_a_belief_without_a_plan_is_checked_before_giving_up(two_columns: Problem, make_executor, world):
    executor = make_executor(two_columns, world)  # nothing is believed, so no block can be moved
    result = VlmGrounder(executor, look_first=False).run()
    assert result.code is TaskCode.GOAL_REACHED


def test_there_may_be_no_plan(tabletop: Domain, make_executor, read_atoms):
    held = read_atoms("holding red", "clear red")
    problem = Problem.create(tabletop, {"red": "block"}, ["(onTable red)"], held)
    world = SymbolicEnvironment(problem)
    result = VlmGrounder(make_executor(problem, world)).run()
    assert result.code is TaskCode.NO_PLAN
    assert "the red block lies directly on the table" in result.message
    assert result.actions == ()


def test_a_goal_that_cannot_be_confirmed_is_not_claimed(
    two_columns: Problem, make_executor, scripted, read_atoms
):
    world = SymbolicEnvironment(two_columns)
    world.state = read_atoms("incolumn r c2", "incolumn b c3", "clear r", "clear b")
    model = scripted(two_columns, world)
    model.lies["(incolumn r c2)"] = 0.5
    executor = make_executor(
        two_columns, world, VisualGrounder(model, two_columns.scene, Thresholds(0.7, 0.3)), given=world.state
    )
    result = VlmGrounder(executor).run()
    assert result.code is TaskCode.NO_PLAN
    assert "not clear whether the red block is in the column" in result.message
    assert result.actions == ()


def test_a_model_that_always_says_no_ends(two_columns: Problem, make_executor, world):
    class No:
        def yes_probabilities(self, questions, observation):
            return [0.0] * len(questions)

    executor = make_executor(two_columns, world, VisualGrounder(No(), two_columns.scene))
    assert VlmGrounder(executor).run().code is TaskCode.NO_PLAN


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_answers_at_random_ends(two_columns: Problem, make_executor, world, seed: int):
    rng = np.random.default_rng(seed)

    class Guess:
        def yes_probabilities(self, questions, observation):
            return rng.random(len(questions))

    executor = make_executor(two_columns, world, VisualGrounder(Guess(), two_columns.scene))
    result = VlmGrounder(executor, limits=Limits(steps=4)).run()
    assert len(result.actions) <= 4
    assert result.message or result.code is TaskCode.GOAL_REACHED


def test_steps_run_out(two_columns: Problem, make_executor, world: SymbolicEnvironment):
    result = VlmGrounder(make_executor(two_columns, world), limits=Limits(steps=1)).run()
    assert result.code is TaskCode.STEPS_EXHAUSTED
    assert [record.action for record in result.actions] == [RED]
    assert 'the blue block is in the column labelled "c3"' in result.message


def test_the_last_step_may_reach_the_goal(two_columns: Problem, make_executor, world: SymbolicEnvironment):
    assert (
        VlmGrounder(make_executor(two_columns, world), limits=Limits(steps=2)).run().code
        is TaskCode.GOAL_REACHED
    )


def test_a_policy_that_is_gone_ends_the_task(two_columns: Problem, make_executor, world, monkeypatch):
    monkeypatch.setattr(
        world, "execute", lambda action, instruction: Execution(ExecutionStatus.FAULT, "no policy")
    )
    result = VlmGrounder(make_executor(two_columns, world), limits=Limits(faults=2)).run()
    assert result.code is TaskCode.EXECUTION_FAULT
    assert "no policy" in result.message
    assert len(result.actions) == 2


def test_a_planner_that_breaks_is_an_outcome(two_columns: Problem, make_executor, world):
    class Broken(ClassicalPlanner):
        def plan(self, problem, state):
            raise PlannerError("out of memory")

    result = VlmGrounder(make_executor(two_columns, world), Broken()).run()
    assert result.code is TaskCode.NO_PLAN
    assert "out of memory" in result.message
