from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dream_vla_ros.planning import planner as planner_module
from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.errors import PlannerError
from dream_vla_ros.planning.planner import ClassicalPlanner
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.terms import Atom, GroundAction, parse_literal
from dream_vla_ros.planning.transition import TransitionModel, transition_model


@pytest.mark.parametrize("planner", [ClassicalPlanner(), ClassicalPlanner(shortest_limit_s=0.0)])
def test_a_plan_leads_to_the_goal(two_columns: Problem, planner: ClassicalPlanner):
    plan = planner.plan(two_columns, two_columns.initial)
    assert plan is not None
    model = TransitionModel(two_columns)
    state = two_columns.initial
    for action in plan:
        state = model.apply(state, action)
        assert state is not None
    assert two_columns.reached(state)


def test_the_plan_is_a_shortest_one(two_columns: Problem):
    plan = ClassicalPlanner().plan(two_columns, two_columns.initial)
    assert plan == (GroundAction("moveblock", ("r", "c2")), GroundAction("moveblock", ("b", "c3")))


def test_planning_starts_from_the_state_that_is_given(two_columns: Problem, read_atoms):
    state = read_atoms("incolumn r c2", "clear r", "incolumn b c1", "clear b")
    assert ClassicalPlanner().plan(two_columns, state) == (GroundAction("moveblock", ("b", "c3")),)


def test_nothing_is_to_be_done_where_the_goal_holds(two_columns: Problem, read_atoms):
    assert ClassicalPlanner().plan(two_columns, read_atoms("incolumn b c3", "incolumn r c2")) == ()


def test_a_block_that_leans_on_another_is_taken_away_first(tabletop: Domain, read_atoms):
    blocks = dict.fromkeys(("red", "blue", "green", "yellow"), "block")
    problem = Problem.create(tabletop, blocks, [parse_literal("(on green blue)")])
    state = read_atoms(
        "ontable blue", "ontable green", "ontable yellow", "clear red", "clear green", "clear yellow"
    )
    plan = ClassicalPlanner().plan(problem, state)
    assert plan is not None
    first, last = plan[0], plan[-1]
    assert first.arguments[0] == "red"
    assert str(last) == "put-on(green, blue)"
    after = transition_model(problem).apply(state, first)
    assert Atom("clear", ("blue",)) in after


@pytest.mark.parametrize("limit_s", [0.0, 5.0])
def test_there_may_be_no_plan(tabletop: Domain, read_atoms, limit_s: float):
    problem = Problem.create(
        tabletop, {"red": "block"}, ["(onTable red)"], read_atoms("holding red", "clear red")
    )
    assert ClassicalPlanner(shortest_limit_s=limit_s).plan(problem, problem.initial) is None


def test_time_may_run_out(two_columns: Problem):
    with pytest.raises(PlannerError, match="timeout"):
        ClassicalPlanner(shortest_limit_s=0.001, any_limit_s=0.001).plan(two_columns, two_columns.initial)


def test_a_missing_planner_is_told(two_columns: Problem, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "up_fast_downward.fast_downward", None)
    planner_module._fast_downward.cache_clear()
    with pytest.raises(PlannerError, match="up-fast-downward"):
        ClassicalPlanner().plan(two_columns, two_columns.initial)


def test_nothing_is_written_where_it_is_started(two_columns: Problem, monkeypatch, tmp_path: Path):
    """Two that plan in one folder at once would read each other's task, as Fast Downward does by default."""
    (tmp_path / "output.sas").mkdir()
    monkeypatch.chdir(tmp_path)
    assert ClassicalPlanner().plan(two_columns, two_columns.initial)
    assert [path.name for path in tmp_path.iterdir()] == ["output.sas"]
    assert not list((tmp_path / "output.sas").iterdir())
