from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.errors import ProblemError
from dream_vla_ros.planning.grounding import VisualGrounder
from dream_vla_ros.planning.interfaces import Observation
from dream_vla_ros.planning.oracle import Oracle
from dream_vla_ros.planning.outcomes import TaskCode
from dream_vla_ros.planning.plan_text import parse_plan
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.symbolic_environment import SymbolicEnvironment
from dream_vla_ros.planning.terms import GroundAction
from dream_vla_ros.planning.vlm_grounder import VlmGrounder
from dream_vla_ros.planning.vlm_planner import VlmPlanner


def test_the_oracle_writes_shortest_plans_from_the_state_as_it_is(two_columns: Problem):
    world = SymbolicEnvironment(two_columns)
    oracle = Oracle(two_columns, world)
    for left in (2, 1, 0):
        plan = parse_plan(oracle.generate([], ()))
        assert len(plan.actions) == left
        if plan.actions:
            world.execute(GroundAction(plan.actions[0].name, tuple(plan.actions[0].named.values())), "")


def test_the_oracle_answers_from_the_state_as_it_is(two_columns: Problem):
    world = SymbolicEnvironment(two_columns)
    oracle = Oracle(two_columns, world)
    questions = ["Is the red block directly on top of the blue block?", "Is it raining?"]
    first, second = oracle.yes_probabilities(questions, Observation())
    assert first == 1.0
    assert math.isnan(second)
    world.execute(GroundAction("moveblock", ("r", "c2")), "")
    assert oracle.yes_probabilities(questions[:1], Observation()) == [0.0]


def test_the_oracle_says_so_where_there_is_no_plan(tabletop: Domain, read_atoms):
    problem = Problem.create(tabletop, {"red": "block"}, ["(onTable red)"], read_atoms("holding red"))
    assert "no plan" in Oracle(problem, SymbolicEnvironment(problem)).generate([], ())


def test_questions_that_read_the_same_are_refused(blocksworld: Domain):
    problem = Problem.create(blocksworld, {"r": "block", "red_block": "block"}, [])
    with pytest.raises(ProblemError, match="read the same for different objects"):
        Oracle(problem, SymbolicEnvironment(problem))


def viplan_problems(folder: Path, household: Domain, blocksworld: Domain) -> list[Problem]:
    """Return a few of each domain and tier; benchmarks/viplan.py runs every one."""
    home = sorted((folder / "household").glob("*/*.pddl"))[::4]
    blocks = sorted((folder / "blocksworld").glob("*/*.pddl"))[::16]
    return [
        *(Problem.from_file(household, path) for path in home),
        *(Problem.from_file(blocksworld, path) for path in blocks),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "failure_probability"), [("planner", 0.0), ("grounder", 0.0), ("grounder", 0.25)]
)
def test_oracles_finish_viplan(
    viplan: Path, household: Domain, blocksworld: Domain, make_executor, mode: str, failure_probability: float
):
    rng = np.random.default_rng(11)
    problems = viplan_problems(viplan, household, blocksworld)
    assert len(problems) >= 6
    for problem in problems if failure_probability == 0.0 else problems[::2]:
        world = SymbolicEnvironment(problem, failure_probability=failure_probability, rng=rng)
        oracle = Oracle(problem, world)
        executor = make_executor(problem, world, VisualGrounder(oracle, problem.scene))
        loop = VlmPlanner(executor, oracle, world) if mode == "planner" else VlmGrounder(executor)
        result = loop.run()
        assert result.code is TaskCode.GOAL_REACHED, f"{problem.name}: {result.message}"
        assert problem.reached(world.state)
        if failure_probability == 0.0:
            assert result.action_accuracy == 1.0
