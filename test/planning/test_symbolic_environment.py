from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.errors import PlanningError
from dream_vla_ros.planning.interfaces import ExecutionStatus
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.symbolic_environment import SymbolicEnvironment
from dream_vla_ros.planning.terms import GroundAction

MOVE = GroundAction("moveblock", ("r", "c2"))


def test_actions_change_the_state(two_columns: Problem, read_atoms):
    world = SymbolicEnvironment(two_columns)
    assert world.execute(MOVE, "").status is ExecutionStatus.DONE
    assert world.state >= read_atoms("incolumn r c2", "clear b")


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (GroundAction("moveblock", ("b", "c2")), "the blue block is the topmost"),
        (GroundAction("moveblock", ("z", "c2")), "no object 'z'"),
        (GroundAction("fly"), "no action 'fly'"),
    ],
)
def test_what_is_not_possible_is_not_done(two_columns: Problem, action: GroundAction, reason: str):
    world = SymbolicEnvironment(two_columns)
    execution = world.execute(action, "")
    assert execution.status is ExecutionStatus.IMPOSSIBLE
    assert reason in execution.message
    assert world.state == two_columns.initial


def test_actions_fail_as_often_as_they_should_and_as_in_viplan(blocksworld: Domain, read_atoms):
    columns = ["c1", "c2", "c3", "c4", "c5"]
    order = [f"leftof {a} {b}" for a, b in itertools.pairwise(columns)]
    problem = Problem.create(
        blocksworld,
        {"r": "block"} | dict.fromkeys(columns, "column"),
        [],
        read_atoms("clear r", "incolumn r c1", *order),
    )
    world = SymbolicEnvironment(problem, failure_probability=0.4, rng=np.random.default_rng(0))
    ends: Counter[str] = Counter()
    for _ in range(1000):
        world.state = problem.initial
        world.execute(GroundAction("moveblock", ("r", "c4")), "")
        (place,) = [atom.arguments[1] for atom in world.state if atom.predicate == "incolumn"]
        ends[place] += 1
    # 60 % succeed; of the failures half do nothing, a quarter ends beside c4, a quarter beside c1.
    for place, share in {"c4": 0.6, "c1": 0.2, "c3": 0.05, "c5": 0.05, "c2": 0.1}.items():
        assert ends[place] / 1000 == pytest.approx(share, abs=0.03)


def test_the_same_seed_fails_in_the_same_way(two_columns: Problem):
    def run(seed: int) -> list[frozenset]:
        world = SymbolicEnvironment(two_columns, failure_probability=0.5, rng=np.random.default_rng(seed))
        states = []
        for action in [MOVE, GroundAction("moveblock", ("r", "c3"))] * 10:
            world.execute(action, "")
            states.append(world.state)
        return states

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_where_a_domain_knows_no_slip_failures_do_nothing(tabletop: Domain, read_atoms):
    problem = Problem.create(tabletop, {"red": "block"}, [], read_atoms("clear red", "ontable red"))
    world = SymbolicEnvironment(problem, failure_probability=1.0, rng=np.random.default_rng(0))
    for _ in range(20):
        assert world.execute(GroundAction("pick-up", ("red",)), "").status is ExecutionStatus.DONE
        assert world.state == problem.initial


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_probabilities_lie_between_0_and_1(two_columns: Problem, probability: float):
    with pytest.raises(PlanningError, match="failure_probability"):
        SymbolicEnvironment(two_columns, failure_probability=probability)


def test_failures_need_a_seeded_generator(two_columns: Problem):
    with pytest.raises(PlanningError, match="random generator"):
        SymbolicEnvironment(two_columns, failure_probability=0.1)


def test_states_are_drawn_by_the_renderer(two_columns: Problem):
    world = SymbolicEnvironment(
        two_columns, renderer=lambda state: [np.full((2, 2, 3), len(state), np.uint8)]
    )
    (image,) = world.observe().images
    assert image[0, 0, 0] == len(two_columns.initial)
    assert SymbolicEnvironment(two_columns).observe().images == ()
