import itertools

import numpy as np
import pytest

from dream_vla_ros.sim.environment import TabletopEnv
from dream_vla_ros.sim.expert import plan
from dream_vla_ros.sim.goals import Direction, Pushed
from dream_vla_ros.sim.skills import MAX_ROTATION_RAD, MAX_TRANSLATION_M
from dream_vla_ros.sim.tasks import Task, task_from_instruction

SEEDS = range(6)
# What the arm is behind its target at 0.15 m/s, and still goes when the expert stops commanding.
ARM_LAG_M = 8e-3
TASKS = {
    "lift": task_from_instruction("pick up the red block"),
    "stack": task_from_instruction("put the red block on the blue one"),
    "push left": task_from_instruction("push the green block to the left"),
    "push right": task_from_instruction("push the green block to the right"),
    "push forward": Task(Pushed("green", Direction.FORWARD)),
    "lift open": task_from_instruction("grab the purple block"),
    "stack open": task_from_instruction("stack the white block on the orange block"),
}


@pytest.fixture(scope="module")
def env():
    return TabletopEnv(render=False)


def solve(env, task, *, execute=1, max_steps=100):
    """Act on replanned chunks until the expert has nothing left to do; return the steps taken."""
    for step in itertools.count(0, execute):
        chunk = plan(task.goal, env.start, env.sim.state())
        if chunk.settled or step >= max_steps:
            return step
        for action in chunk.array()[:execute]:
            env.advance(action)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_solved_and_then_held(env, name):
    task = TASKS[name]
    for seed in SEEDS:
        env.reset(task, seed)
        assert not env.success()
        steps = solve(env, task)
        assert env.success(), f"seed {seed} not solved in {steps} steps"
        assert steps < 50
        before = env.sim.state()
        for _ in range(5):
            env.advance(plan(task.goal, env.start, env.sim.state()).array()[0])
        after = env.sim.state()
        assert env.success(), f"seed {seed} not held"
        assert np.allclose(before.end_effector.position, after.end_effector.position, atol=ARM_LAG_M)


@pytest.mark.parametrize("name", ["lift", "stack", "push left"])
@pytest.mark.parametrize("execute", [4, 8])
def test_half_or_all_of_a_chunk_can_be_executed_blindly(env, name, execute):
    for seed in SEEDS:
        env.reset(TASKS[name], seed)
        solve(env, TASKS[name], execute=execute)
        assert env.success(), f"seed {seed}"


def test_every_step_stays_within_the_speed_of_the_data(env):
    for task in TASKS.values():
        env.reset(task, 3)
        for _ in range(25):
            chunk = plan(task.goal, env.start, env.sim.state())
            assert np.all(np.linalg.norm(chunk.translation, axis=1) <= MAX_TRANSLATION_M + 1e-9)
            assert np.all(np.linalg.norm(chunk.rotation, axis=1) <= MAX_ROTATION_RAD + 1e-9)
            assert set(chunk.gripper) <= {0.0, 1.0}
            env.advance(chunk.array()[0])


def test_it_keeps_no_state(env):
    task = TASKS["stack"]
    env.reset(task, 0)
    states = []
    for _ in range(12):
        states.append((env.start, env.sim.state(), plan(task.goal, env.start, env.sim.state()).array()))
        env.advance(states[-1][2][0])
    for start, now, chunk in reversed(states):
        assert np.array_equal(plan(task.goal, start, now).array(), chunk)


def test_the_chunk_foretells_what_undisturbed_execution_does(env):
    task = TASKS["lift"]
    env.reset(task, 0)
    chunk = plan(task.goal, env.start, env.sim.state(), steps=16)
    begin = env.sim.state().end_effector.position
    for action in chunk.array():
        env.advance(action)
    moved = env.sim.state().end_effector.position - begin
    assert np.allclose(moved, chunk.translation.sum(axis=0), atol=0.01)
    assert env.sim.state().blocks["red"].position[2] > 0.03, "the blind chunk grasped the block"


@pytest.mark.parametrize("name", ["lift", "stack", "push right"])
def test_it_recovers_from_a_violent_disturbance(env, name):
    task = TASKS[name]
    rng = np.random.default_rng(0)
    for seed in SEEDS:
        env.reset(task, seed)
        for _ in range(rng.integers(4, 12)):
            env.advance(plan(task.goal, env.start, env.sim.state()).array()[0])
        for _ in range(4):
            kick = np.array([*rng.uniform(-0.03, 0.03, 3), *rng.uniform(-0.1, 0.1, 3), rng.integers(0, 2)])
            env.advance(kick)
        solve(env, task)
        assert env.success(), f"seed {seed}"


def test_a_goal_without_a_skill_is_refused(env):
    env.reset(TASKS["lift"], 0)
    with pytest.raises(TypeError, match="no skill"):
        plan("dance", env.start, env.sim.state())
