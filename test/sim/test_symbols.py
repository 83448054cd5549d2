"""What is true of a table, and what words want of it."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.geometry import Pose
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.sim.environment import TabletopEnv
from dream_vla_ros.sim.expert import plan
from dream_vla_ros.sim.goals import Direction, Lifted, Pushed, Stacked
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.symbols import DOMAIN, UnknownTaskError, goal_in_words, goal_literal, symbols
from dream_vla_ros.sim.tasks import task_from_instruction

LEVEL = np.array([0.0, 0.0, 0.0, 1.0])


def table(blocks, end_effector=(0.3, 0.0, 0.2), gripper=1.0):
    return TableState(
        0.0,
        Pose(np.array(end_effector), LEVEL),
        gripper,
        {name: Pose(np.array(place), LEVEL) for name, place in blocks.items()},
    )


def said(state):
    return {str(atom) for atom in state}


def test_blocks_side_by_side():
    state = said(symbols(table({"red": (0.3, 0.1, 0.02), "blue": (0.3, -0.1, 0.02)})))
    assert state == {
        "(ontable red)", "(ontable blue)", "(clear red)", "(clear blue)", "(onleft red)", "(onright blue)",
    }  # fmt: skip


def test_a_tower():
    blocks = {"red": (0.3, 0.1, 0.1), "blue": (0.3, 0.1, 0.06), "green": (0.3, 0.1, 0.02)}
    state = said(symbols(table(blocks)))
    assert {"(on red blue)", "(on blue green)", "(ontable green)", "(clear red)"} <= state
    assert not {"(clear blue)", "(clear green)", "(ontable red)", "(on red green)"} & state


def test_a_held_block_is_neither_on_the_table_nor_on_another():
    blocks = {"red": (0.3, 0.1, 0.06), "blue": (0.3, 0.1, 0.02)}
    held = said(symbols(table(blocks, end_effector=(0.3, 0.1, 0.06), gripper=0.54)))
    assert "(holding red)" in held
    assert not {"(on red blue)", "(ontable red)"} & held
    assert "(clear blue)" in held  # it hangs over the block below, and lies on nothing
    let_go = said(symbols(table(blocks, end_effector=(0.3, 0.1, 0.06), gripper=0.9)))
    assert "(on red blue)" in let_go
    assert "(holding red)" not in let_go


def test_a_block_that_leans_on_another_covers_it_and_is_on_nothing():
    state = said(symbols(table({"red": (0.3, 0.125, 0.045), "blue": (0.3, 0.1, 0.02)})))
    assert not {"(on red blue)", "(ontable red)", "(clear blue)"} & state
    assert "(clear red)" in state


def test_a_block_between_the_fingers_on_the_table_is_not_held_yet():
    state = said(symbols(table({"red": (0.3, 0.1, 0.02)}, end_effector=(0.3, 0.1, 0.02), gripper=0.54)))
    assert "(ontable red)" in state
    assert "(holding red)" not in state


def test_names_are_those_of_the_domain():
    domain = load_domain(DOMAIN)
    blocks = {"red": (0.3, 0.1, 0.1), "blue": (0.3, 0.1, 0.06), "green": (0.3, -0.1, 0.02)}
    for atom in symbols(table(blocks, end_effector=(0.3, 0.1, 0.1), gripper=0.5)):
        assert len(domain.signature.predicates[atom.predicate].parameters) == len(atom.arguments)
    for goal in (Lifted("red"), Stacked("red", "blue"), Pushed("red", Direction.LEFT)):
        assert goal_literal(goal).atom.predicate in domain.signature.predicates


@pytest.mark.parametrize(
    ("words", "goal"),
    [
        ("stack red on blue and blue on green", ["(on red blue)", "(on blue green)"]),
        ("Put red block on blue one, then lift the green block", ["(on red blue)", "(holding green)"]),
        ("place the red block on top of the blue block", ["(on red blue)"]),
        ("push the green block to the left", ["(onleft green)"]),
        ("red on blue, red on blue", ["(on red blue)"]),
    ],
)  # fmt: skip
def test_tasks_in_words(words, goal):
    assert [str(literal) for literal in goal_in_words(words)] == goal


@pytest.mark.parametrize(
    "words",
    [
        "",
        "make tea",
        "red on red",
        "push the red block forward",
        "stack mauve on blue",
        "pick up the red cup",
    ],
)
def test_what_cannot_be_put_into_predicates_is_refused(words):
    with pytest.raises(UnknownTaskError):
        goal_in_words(words)


@pytest.mark.parametrize("words", ["pick up the red block", "put the red block on the blue one"])
def test_what_the_expert_does_shows_in_the_symbols(words):
    task = task_from_instruction(words)
    env = TabletopEnv(render=False)
    wanted = goal_literal(task.goal).atom
    try:
        env.reset(task, 3)
        start = env.sim.state()
        assert wanted not in symbols(start)
        for _ in range(60):
            chunk = plan(task.goal, start, env.sim.state(), 8)
            if chunk.settled:
                break
            env.step(chunk.array()[0])
        now = env.sim.state()
        assert task.goal.reached(start, now)
        assert wanted in symbols(now)
        others = {atom for atom in symbols(start) if atom.arguments in (("green",), ("yellow",))}
        assert others <= symbols(now)
    finally:
        env.close()
