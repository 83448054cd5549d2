"""Questions, goals and plans about the tabletop: right, balanced, and readable by planning."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.geometry import Pose
from dream_vla_ros.planning.goal_text import parse_goal
from dream_vla_ros.planning.plan_text import parse_plan
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.resolve import Resolver
from dream_vla_ros.planning.transition import transition_model
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.symbols import goal_in_words, symbols
from dream_vla_ros.training.questions import (
    draw_examples,
    draw_goal,
    draw_questions,
    draw_scene,
    near_misses,
    plan_example,
    tabletop_domain,
    tabletop_scene,
    task_in_words,
)

COLOURS = ("red", "green", "blue", "yellow")


def state_of(seed, tower_share=0.5):
    layout = draw_scene(COLOURS, np.random.default_rng(seed), tower_share=tower_share)
    return symbols(TableState(0.0, layout.end_effector, 1.0, layout.blocks))


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_drawn_scenes_are_towers_that_stand(seed):
    state = state_of(seed)
    supports = {}
    for atom in state:
        if atom.predicate == "on":
            supports.setdefault(atom.arguments[0], []).append(atom.arguments[1])
        elif atom.predicate == "ontable":
            supports.setdefault(atom.arguments[0], []).append("table")
    assert sorted(supports) == sorted(COLOURS)
    assert all(len(below) == 1 for below in supports.values())
    bases = [below for (below,) in supports.values() if below != "table"]
    assert len(set(bases)) == len(bases)
    assert {a.arguments[0] for a in state if a.predicate == "clear"} == set(COLOURS) - set(bases)


def test_near_misses_are_asked_more_often():
    at = {
        "red": (0.3, 0.1, 0.02),
        "green": (0.3, 0.1, 0.06),
        "blue": (0.3, 0.1, 0.1),
        "yellow": (0.2, 0.01, 0.02),
    }
    upright = np.array([0.0, 0.0, 0.0, 1.0])
    blocks = {name: Pose(np.array(place), upright) for name, place in at.items()}
    table = TableState(0.0, Pose(np.array([0.25, 0.0, 0.2]), upright), 1.0, blocks)
    asked = draw_questions(symbols(table), COLOURS, np.random.default_rng(0), 4000, weight=near_misses(table))
    told = Counter(str(question.atom) for question in asked)
    assert told["(onleft yellow)"] > 2 * told["(onleft red)"]
    assert told["(on blue red)"] > 3 * told["(on yellow red)"] > 0


def test_towers_are_drawn_as_often_as_told():
    assert not any(a.predicate == "on" for seed in range(30) for a in state_of(seed, 0.0))
    assert sum(any(a.predicate == "on" for a in state_of(seed, 0.5)) for seed in range(30)) > 20


def test_questions_are_right_and_balanced():
    rng = np.random.default_rng(0)
    answers = []
    for seed in range(20):
        state = state_of(seed)
        for question in draw_questions(state, COLOURS, rng, 12):
            if question.atom is not None:
                assert question.answer == (question.atom in state)
                assert question.text == tabletop_scene(COLOURS).question(question.atom)
            answers.append(question.answer)
    assert np.mean(answers) == pytest.approx(0.5, abs=0.01)


def test_predicates_are_drawn_by_their_shares():
    asked = draw_questions(
        state_of(1), COLOURS, np.random.default_rng(1), 400, shares={"present": 0.0, "on": 3.0}
    )
    count = {
        name: sum(q.atom is not None and q.atom.predicate == name for q in asked) for name in ("on", "clear")
    }
    assert all(question.atom is not None for question in asked)
    assert count["on"] > 2 * count["clear"] > 0
    assert sum(question.answer for question in asked) == 200


def test_a_missing_block_is_asked_for_too():
    questions = draw_questions(state_of(1), COLOURS[:3], np.random.default_rng(1), 200)
    asked = {question.text: question.answer for question in questions if question.atom is None}
    assert asked["Is there a yellow block on the table or in the gripper?"] is False
    assert asked["Is there a red block on the table or in the gripper?"] is True


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_goals_can_be_reached_and_their_plans_reach_them(parts):
    scene = tabletop_scene(COLOURS)
    rng = np.random.default_rng(parts)
    for seed in range(4):
        state = state_of(seed)
        goal = draw_goal(state, COLOURS, rng, parts)
        assert not any(literal.holds(state) for literal in goal)
        example = plan_example(state, goal, COLOURS, 2)
        if not goal:
            assert example is None
            continue
        assert example is not None
        problem = Problem.create(tabletop_domain(), dict(scene.objects), list(goal))
        now = state
        for raw in parse_plan(example.answer).actions:
            now = transition_model(problem).apply(now, Resolver(scene).resolve(raw))
            assert now is not None
        assert problem.reached(now)


def test_words_and_predicates_of_a_goal_mean_the_same():
    rng = np.random.default_rng(5)
    for seed in range(10):
        goal = draw_goal(state_of(seed), COLOURS, rng, 2)
        if goal:
            assert set(goal_in_words(task_in_words(goal, COLOURS, rng))) == set(goal)


def test_examples_are_chats_with_one_image_per_camera_and_answers_that_can_be_read():
    examples = draw_examples(state_of(2), COLOURS, 2, np.random.default_rng(2), questions=6, plans=2)
    kinds = [example.kind for example in examples]
    assert kinds.count("question") == 6
    assert {"goal", "plan"} <= set(kinds)
    for example in examples:
        parts = [part for message in example.messages for part in message["content"]]
        assert sum(part["type"] == "image" for part in parts) == 2
        assert example.messages[-1]["role"] == "user"
        if example.kind == "question":
            assert example.answer in ("yes", "no")
        elif example.kind == "goal":
            assert parse_goal(example.answer, tabletop_scene(COLOURS))
        else:
            assert parse_plan(example.answer).actions


def test_a_seed_repeats():
    one, two = (
        [(e.kind, e.answer) for e in draw_examples(state_of(3), COLOURS, 1, np.random.default_rng(9))]
        for _ in range(2)
    )
    assert one == two
