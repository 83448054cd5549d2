"""Tasks that begin on a table as another one left it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector, quaternion_multiply
from dream_vla_ros.images import Preprocessing
from dream_vla_ros.sim.appearance import BYSTANDER_COLOURS, CLOSED_COLOURS
from dream_vla_ros.sim.arm import HOME_ANGLES, gripper_down
from dream_vla_ros.sim.environment import TabletopEnv
from dream_vla_ros.sim.goals import Lifted, Pushed, Stacked
from dream_vla_ros.sim.inverse_kinematics import InverseKinematics
from dream_vla_ros.sim.rollout import RecoveryNoise, run_episode
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.symbols import goal_literal, symbols
from dream_vla_ros.training.demonstrations import BLOCK_LABEL, Recipe, demonstrations
from dream_vla_ros.training.questions import draw_scene
from dream_vla_ros.training.tower_tasks import next_task, tower_task

TILTED = (0.0, 0.2, 0.0, 0.98)


def table(seed: int, hand: tuple[float, float, float] = (0.25, 0.0, 0.2)) -> TableState:
    layout = draw_scene(CLOSED_COLOURS, np.random.default_rng(seed), tower_share=0.6)
    return TableState(7.0, Pose(np.array(hand), gripper_down(0.3)), 1.0, layout.blocks)


@pytest.fixture(scope="module")
def arm() -> InverseKinematics:
    return InverseKinematics()


@given(
    st.integers(0, 1000),
    st.tuples(st.floats(0.10, 0.50), st.floats(-0.30, 0.30), st.floats(0.0, 0.40)),
    st.floats(-3.0, 3.0),
    st.floats(-0.4, 0.4),
)
@settings(max_examples=40)
def test_something_undone_is_asked_for_and_the_gripper_is_out_of_the_way(arm, seed, place, yaw, tilt):
    tilted = quaternion_multiply(gripper_down(yaw), quaternion_from_rotation_vector([0.0, tilt, 0.0]))
    left = replace(table(seed), end_effector=Pose(np.array(place), tilted))
    task = next_task(left, np.random.default_rng(seed))
    assert task is not None
    assert task.layout.blocks == left.blocks
    assert not goal_literal(task.goal).holds(symbols(left))
    hand = task.layout.end_effector.position
    if 0.18 <= place[0] <= 0.36 and abs(place[1]) <= 0.15 and 0.14 <= place[2] <= 0.22:
        assert hand[:2] == pytest.approx(place[:2])
        assert hand[2] >= place[2]
    arm.reset(HOME_ANGLES)
    arm.solve(task.layout.end_effector)
    for pose in left.blocks.values():
        if np.hypot(*(pose.position - hand)[:2]) < 0.06:
            assert hand[2] - pose.position[2] >= 0.06 - 1e-9


@pytest.mark.parametrize("trouble", ["far", "held", "leaning", "nameless"])
def test_a_table_that_cannot_be_gone_on_with_is_left(trouble):
    left = table(0)
    name = max(left.blocks, key=lambda block: left.blocks[block].position[2])
    x, y, z = left.blocks[name].position
    changed = {
        "far": Pose(np.array([0.5, y, 0.02]), left.blocks[name].quaternion),
        "held": Pose(left.end_effector.position, left.blocks[name].quaternion),
        "leaning": Pose(np.array([x, y, z + 0.015]), np.array(TILTED)),
    }
    blocks = dict(left.blocks)
    if trouble == "nameless":
        blocks[next(iter(BYSTANDER_COLOURS))] = blocks.pop(name)
    else:
        blocks[name] = changed[trouble]
    assert next_task(replace(left, gripper=0.5, blocks=blocks), np.random.default_rng(0)) is None
    assert next_task(left, np.random.default_rng(0)) is not None


def test_episodes_follow_on_each_other():
    recipe = Recipe(episodes=6, towers=1.0, in_a_row=3, num_blocks=(4,), shares=(0.0, 1.0, 0.0))
    task, num_blocks = recipe.task(0)
    env = TabletopEnv(num_blocks=num_blocks, render=False)
    try:
        assert run_episode(env, task, 1).success
        left = env.sim.state()
        following, _ = recipe.task(1, left)
        assert following.layout.blocks == left.blocks
        assert isinstance(following.goal, Stacked)
        assert run_episode(env, following, 2).success
    finally:
        env.close()
    fresh, _ = recipe.task(3, left)
    assert fresh.layout.blocks != left.blocks
    # Without a table that was left, as in the first episode of a shard, any begins anew.
    assert recipe.task(1)[0].layout.blocks != left.blocks


def test_demonstrations_begin_as_those_before_ended(embodiment):
    recipe = Recipe(episodes=2, towers=1.0, in_a_row=2, num_blocks=(4,), shares=(0.0, 1.0, 0.0))
    recipe = replace(recipe, camera_pixels=56, noise=RecoveryNoise(probability=0.0))
    images = Preprocessing(112, jpeg=False, crop_area=1.0)
    first, second = demonstrations(recipe, embodiment, images, range(2))
    (alone,) = demonstrations(recipe, embodiment, images, [1])

    def between(samples, row):
        places = samples.labels[BLOCK_LABEL][row, :, :3]  # from the gripper, which need not be where it was
        return places - np.nanmean(places, axis=0)

    np.testing.assert_allclose(between(second, 0), between(first, -1), atol=0.003)
    assert not np.allclose(between(alone, 0), between(first, -1), atol=0.003, equal_nan=True)


def test_blocks_lie_where_pushes_leave_them_and_no_farther():
    places = []
    for seed in range(40):
        task = tower_task(CLOSED_COLOURS, np.random.default_rng(seed))
        places += [pose.position for pose in task.layout.blocks.values()]
    aside, far = np.abs([place[1] for place in places]), np.hypot(*np.array(places)[:, :2].T)
    assert aside.max() > 0.24
    assert far.max() <= 0.45


@pytest.mark.parametrize("kind", [Lifted, Stacked, Pushed])
def test_kinds_are_drawn_as_told(kind):
    shares = dict.fromkeys((Lifted, Stacked, Pushed), 0.0) | {kind: 1.0}
    for seed in range(5):
        task = next_task(table(seed), np.random.default_rng(seed), shares=shares)
        assert task is None or isinstance(task.goal, kind)
        assert isinstance(tower_task(CLOSED_COLOURS, np.random.default_rng(seed), shares=shares).goal, kind)


def test_nothing_is_drawn_where_nothing_can_be_done():
    shares = {Lifted: 0.0, Stacked: 1.0, Pushed: 0.0}
    with pytest.raises(ValueError, match="nothing to do with red"):
        tower_task(["red"], np.random.default_rng(0), shares=shares)
