"""Tasks of several steps: drawn, planned, carried out, and judged by what is true."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dream_vla_ros.nodes.cli import evaluate_tasks
from dream_vla_ros.nodes.cli.main import main
from dream_vla_ros.planning.calibration import Calibration
from dream_vla_ros.planning.outcomes import ActionCode, TaskCode
from dream_vla_ros.planning.planner import ClassicalPlanner
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.terms import Atom, Literal
from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.policy import PolicyError, PolicyResult
from dream_vla_ros.sim.appearance import CLOSED_COLOURS, OPEN_COLOURS
from dream_vla_ros.sim.expert import PERIOD_S
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.training import planned_tasks
from dream_vla_ros.training.closed_loop import ClosedLoop, LoopSettings
from dream_vla_ros.training.expert_policy import ExpertPolicy
from dream_vla_ros.training.planned_evaluation import planned_table
from dream_vla_ros.training.planned_tasks import (
    Literals,
    Mode,
    TabletopWorld,
    carry_out,
    draw_planned_task,
    record_of,
)
from dream_vla_ros.training.questions import tabletop_domain, tabletop_scene
from dream_vla_ros.training.tabletop_environment import TabletopEnvironment


class Idle:
    """A policy that does nothing."""

    name, objective, notes = "idle", "scripted", ()

    def reset(self):
        pass

    def infer(self, observation):
        return PolicyResult(Motion(np.zeros((8, 3)), np.zeros((8, 3)), np.ones(8)), PERIOD_S)

    def close(self):
        pass


class Seer:
    """Answers questions about the table from its true state, but for what it is blind to."""

    calibration: Calibration | None = None

    def __init__(self, world, blind=()):
        self.world, self.blind, self.asked = world, blind, 0

    def yes_probabilities(self, questions, observation):
        assert len(observation.images) == 2
        assert observation.state.gripper is not None
        self.asked += len(questions)
        state = self.world.state
        there = sorted({name for atom in state for name in atom.arguments} - set(self.blind))
        scene = tabletop_scene(OPEN_COLOURS)
        known = {scene.question(atom): atom in state for atom in scene.askable_atoms()}
        known |= {scene.presence_question(name): name in there for name in scene.objects}
        return [0.97 if known[question] else 0.02 for question in questions]

    def generate(self, messages, images, *, grammar=None):
        raise AssertionError("nothing is to be written")


def world_of(embodiment, task, *, idle=False, seed=3):
    environment = TabletopEnvironment(embodiment, camera_pixels=32)
    settings = LoopSettings(time_limit_s=3.0 if idle else 20.0, until_settled=True)
    policy = Idle() if idle else ExpertPolicy(environment.sim)
    loop = ClosedLoop(embodiment, policy, environment, settings)
    return TabletopWorld(loop, environment, task, seed), environment


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_tasks_are_drawn_with_as_many_steps_as_asked_for(steps):
    tasks = [draw_planned_task(seed, steps) for seed in range(3)]
    assert tasks[0].goal == draw_planned_task(0, steps).goal
    assert len({task.words for task in tasks}) == 3
    for task in tasks:
        colours = dict.fromkeys(task.layout.blocks, "block")
        assert set(colours) == set(CLOSED_COLOURS)
        problem = Problem.create(tabletop_domain(), colours, list(task.goal))
        start = TableState(0.0, task.layout.end_effector, 1.0, task.layout.blocks)
        assert not Literals(task.goal).reached(start, start)
        assert len(ClassicalPlanner().plan(problem, symbols(start))) == steps


def test_a_literal_that_has_to_be_false():
    task = draw_planned_task(0, 1)
    start = TableState(0.0, task.layout.end_effector, 1.0, task.layout.blocks)
    atom = Atom("ontable", ("red",))
    held = atom in symbols(start)
    assert Literals((Literal(atom, held),)).reached(start, start)
    assert not Literals((Literal(atom, not held),)).reached(start, start)


def test_a_task_that_cannot_be_drawn_is_refused(monkeypatch):
    monkeypatch.setattr(planned_tasks, "_MAX_DRAWS", 3)
    with pytest.raises(ValueError, match="no task of 9 steps with 3 blocks found in 3 draws"):
        draw_planned_task(0, 9, num_blocks=3)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.slow
def test_the_expert_finishes_a_task_of_three_steps(embodiment, mode):
    task = draw_planned_task(6, 3)
    world, environment = world_of(embodiment, task)
    try:
        result = carry_out(task, world, None, mode=mode)
        record = record_of(task, 5, world, result)
    finally:
        environment.close()
    assert result.code is TaskCode.GOAL_REACHED
    assert record["success"]
    assert {one["outcome"] for one in record["actions"]} == {"SUCCEEDED"}
    # Side by side with the goal, an action may change which half of the table a block is on.
    assert 3 <= len(world.instructions) <= 7
    assert 10.0 < record["time_s"] < 100.0


@pytest.mark.slow
def test_a_model_that_answers_takes_the_place_of_the_truth(embodiment):
    task = draw_planned_task(2, 1)
    world, environment = world_of(embodiment, task)
    try:
        seer = Seer(world)
        result = carry_out(task, world, seer)
    finally:
        environment.close()
    assert result.code is TaskCode.GOAL_REACHED
    assert seer.asked > len(OPEN_COLOURS)


def test_a_block_that_is_not_seen_ends_the_task(embodiment):
    task = draw_planned_task(2, 1)
    world, environment = world_of(embodiment, task)
    try:
        blind = Literals(task.goal).blocks[0]
        result = carry_out(task, world, Seer(world, blind=[blind]))
    finally:
        environment.close()
    assert result.code is TaskCode.NO_PLAN
    assert result.message == f"the goal needs the {blind} block, which is not seen"
    assert world.instructions == []


def test_a_policy_that_does_nothing_runs_out_of_steps(embodiment):
    task = draw_planned_task(0, 1)
    world, environment = world_of(embodiment, task, idle=True)
    try:
        result = carry_out(task, world, None)
        record = record_of(task, 0, world, result)
    finally:
        environment.close()
    assert result.code is TaskCode.STEPS_EXHAUSTED
    assert {one.code for one in result.actions} == {ActionCode.EFFECTS_MISSING}
    assert len(result.actions) == 3
    assert not record["success"]
    text = planned_table([record])
    assert "0/1" in text
    assert "0/3" in text
    assert not math.isnan(record["time_s"])


def test_the_expert_says_what_it_cannot_do(embodiment):
    environment = TabletopEnvironment(embodiment, camera_pixels=32)
    try:
        looks = dict(environment.look())
        seen = Observation(looks, dict.fromkeys(looks, 0), None, "open the drawer")
        with pytest.raises(PolicyError, match="no task is known for 'open the drawer'"):
            ExpertPolicy(environment.sim).infer(seen)
    finally:
        environment.close()


@pytest.mark.slow
def test_tries_from_the_terminal(tmp_path, capsys):
    out = tmp_path / "tries.jsonl"
    given = ["evaluate-tasks", "--expert", "--steps", "1", "--episodes", "2", "--out", str(out)]
    assert main([*given, "--seed", "500000003"]) == 0
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["success"] for record in records] == [True, True]
    assert "2/2" in capsys.readouterr().out
    assert main(["evaluate-tasks", "--checkpoint", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert main(["evaluate-tasks", "--expert", "--answers", str(tmp_path / "no-answers")]) == 1
    assert "no-answers" in capsys.readouterr().err


def test_the_terminal_knows_every_mode():
    assert tuple(mode.value for mode in Mode) == evaluate_tasks.MODES
