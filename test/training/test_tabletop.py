"""The recipe from demonstrations to a checkpoint, in miniature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dream_vla_ros.images import Preprocessing, preprocess
from dream_vla_ros.model.initialize import initialize_checkpoint
from dream_vla_ros.policy.dream_vla import DreamVLAPolicy
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.settings import JPEG, ModelSettings
from dream_vla_ros.robot_state import RobotState
from dream_vla_ros.sim.appearance import BYSTANDER_COLOURS, CLOSED_COLOURS, COLOURS, OPEN_COLOURS
from dream_vla_ros.sim.environment import TabletopEnv
from dream_vla_ros.sim.goals import Lifted, Pushed, Stacked
from dream_vla_ros.sim.rollout import run_episode
from dream_vla_ros.training.corrections import PolicyDriver
from dream_vla_ros.training.demonstrations import (
    EpisodeEncoder,
    Recipe,
    block_labels,
    cameras_of,
    concatenate,
    demonstrations,
    sight_labels,
)
from dream_vla_ros.training.metrics import read_metrics
from dream_vla_ros.training.store import SampleStore, write_shard
from dream_vla_ros.training.tabletop import (
    DEMONSTRATIONS,
    KEY,
    WEIGHTS,
    draw_order,
    main,
    publish_stages,
    train,
)
from dream_vla_ros.training.tabletop_plan import Plan

IMAGES = Preprocessing(112, jpeg=False, crop_area=1.0)
RECIPE = Recipe(episodes=2, camera_pixels=56, bystanders=0.0)


@pytest.fixture(scope="module")
def shown(embodiment):
    return list(demonstrations(RECIPE, embodiment, IMAGES, range(2)))


def test_demonstrations_repeat_and_differ(embodiment, shown):
    again = next(iter(demonstrations(RECIPE, embodiment, IMAGES, [0])))
    np.testing.assert_array_equal(again.images, shown[0].images)
    np.testing.assert_array_equal(again.actions, shown[0].actions)
    assert len({samples.instructions[0] for samples in shown}) == 2
    assert all(samples.actions.shape[1:] == (8, 7) for samples in shown)


def test_samples_are_what_the_policy_would_have_seen(embodiment):
    env = TabletopEnv(image_size=(56, 56))
    try:
        task, _ = RECIPE.task(0)
        episode = run_episode(env, task, 5)
        views = cameras_of(env.sim)
    finally:
        env.close()
    samples = EpisodeEncoder(embodiment, IMAGES)(episode, 0, views)
    settings = ModelSettings(image_crop_area=1.0, image_jpeg=JPEG.NO).preprocessing(IMAGES)
    for at in (0, len(episode) - 1):
        views = [preprocess(episode.images[camera.name][at], settings) for camera in embodiment.cameras]
        np.testing.assert_array_equal(samples.images[at], np.stack(views))
    # The tabletop's actions are motion itself.
    np.testing.assert_allclose(samples.actions, episode.chunks, atol=1e-6)
    np.testing.assert_allclose(samples.proprio[:, :3], episode.end_effector[:, :3], atol=1e-6)


def test_labels_tell_where_blocks_are_from_the_gripper(embodiment):
    env = TabletopEnv(image_size=(32, 32), num_blocks=3)
    try:
        episode = run_episode(env, RECIPE.task(0)[0], 5)
    finally:
        env.close()
    labels = block_labels(episode)
    assert np.isfinite(labels[0]).all(axis=1).sum() == 3
    there = {"red": 0, "green": 1, "blue": 2, "yellow": 3}
    for colour, poses in episode.blocks.items():
        offset = poses[:, :3] - episode.end_effector[:, :3]
        np.testing.assert_allclose(labels[:, there[colour], :3], offset, atol=1e-6)
    np.testing.assert_allclose(np.hypot(labels[..., 3], labels[..., 4])[0, np.isfinite(labels[0, :, 0])], 1.0)


def test_labels_tell_where_blocks_are_in_the_images(embodiment):
    env = TabletopEnv(image_size=(112, 112), num_blocks=3)
    try:
        episode = run_episode(env, RECIPE.task(0)[0], 5)
        views = cameras_of(env.sim)
    finally:
        env.close()
    names = [camera.name for camera in embodiment.cameras]
    labels = sight_labels(episode, [views[name] for name in names])
    absent = next(at for at, colour in enumerate(CLOSED_COLOURS) if colour not in episode.blocks)
    assert np.isnan(labels[:, :, absent]).all()
    checked = 0
    for camera, name in enumerate(names):
        for colour in episode.blocks:
            right, down, depth, *outline = labels[0, camera, CLOSED_COLOURS.index(colour)]
            assert 0.02 < depth < 1.5
            if 0.1 < right < 0.9 and 0.1 < down < 0.9:
                pixel = episode.images[name][0, int(down * 112), int(right * 112)].astype(float)
                shown = pixel / np.linalg.norm(pixel)
                likeness = {one: shown @ rgb / np.linalg.norm(rgb) for one, rgb in COLOURS.items()}
                assert max(episode.blocks, key=likeness.get) == colour
                checked += 1
                assert outline[0] < 0.0 < outline[1]
                assert outline[2] < 0.0 < outline[3]
    assert checked >= 4


def test_half_of_the_tables_may_have_bystanders_which_labels_pass_over():
    recipe = Recipe(episodes=200)
    drawn = [recipe.task(episode)[0] for episode in range(200)]
    bystanders = [set(task.colours) - set(CLOSED_COLOURS) for task in drawn]
    assert {len(some) for some in bystanders} == {0, 2}
    assert 70 < sum(map(bool, bystanders)) < 130
    assert set.union(*bystanders) == set(BYSTANDER_COLOURS)
    assert not set(BYSTANDER_COLOURS) & set(OPEN_COLOURS), "the open set is for trying"
    assert all(set(task.goal.blocks) <= set(CLOSED_COLOURS) for task in drawn)
    env = TabletopEnv(image_size=(56, 56), num_blocks=3)
    task = next(task for task in drawn if len(task.colours) > 4 and len(task.goal.blocks) == 1)
    try:
        seeds = range(20)
        episode = next(
            one
            for one in (run_episode(env, replace(task, time_limit_s=0.5), seed) for seed in seeds)
            if not set(one.blocks) <= set(CLOSED_COLOURS)
        )
        views = list(cameras_of(env.sim).values())
    finally:
        env.close()
    named = [colour in episode.blocks for colour in CLOSED_COLOURS]
    assert np.isfinite(block_labels(episode)[0]).all(axis=1).tolist() == named
    assert np.isfinite(sight_labels(episode, views)[0, 0, :, 0]).tolist() == named


def test_demonstrations_of_towers_show_every_kind_of_task_and_succeed():
    recipe = Recipe(episodes=30, towers=1.0, shares=(0.2, 0.6, 0.2), num_blocks=(4,))
    tasks = [recipe.task(episode)[0] for episode in range(recipe.episodes)]
    heights = [max(pose.position[2] for pose in task.layout.blocks.values()) for task in tasks]
    assert sum(height > 0.05 for height in heights) > 20
    assert {type(task.goal) for task in tasks} == {Lifted, Stacked, Pushed}
    stacked = [task for task in tasks if isinstance(task.goal, Stacked)]
    raised = next(task for task in stacked if task.layout.blocks[task.goal.base].position[2] > 0.05)
    env = TabletopEnv(render=False)
    try:
        for task in (raised, next(task for task in tasks if isinstance(task.goal, Lifted))):
            assert run_episode(env, task, 1).success
    finally:
        env.close()


@pytest.mark.parametrize(
    "given",
    [["--corrections", "10"], ["--corrections", "--refinement-steps", "10"], ["--corrections", *"1234"]],
)
def test_corrections_and_refinements_have_to_be_as_many(given, tmp_path):
    with pytest.raises(SystemExit, match="the same number of rounds, at most 3"):
        main(["--work", str(tmp_path), *given])
    assert not list(tmp_path.iterdir())


def test_refinements_draw_more_of_what_the_policy_drove(shown, tmp_path):
    write_shard(tmp_path, "expert-00000", shown[0])
    write_shard(tmp_path, "own_refinement_1-00000", shown[1])
    store = SampleStore(tmp_path)
    plan = Plan()
    assert plan.round_of("actions") is None
    refined = plan.round_of("refinement_2")
    assert refined is plan.rounds[1]
    settings = replace(refined.training, batch_size=1000)
    drawn = draw_order(store, settings, refined).batch(0)
    assert np.isin(drawn, store.numbers("own_")).mean() == pytest.approx(refined.own_share, abs=0.06)
    every = draw_order(store, replace(settings, batch_size=len(store)), None).batch(0)
    assert sorted(every) == list(range(len(store)))


def test_statistics_stay_those_of_the_demonstrations(shown, tmp_path):
    write_shard(tmp_path / DEMONSTRATIONS, "expert-00000", shown[0])
    weights = dict.fromkeys(("actions", "refinement_1"))
    plan = Plan()
    one = {"steps": 1, "batch_size": 4, "warmup_steps": 1}
    plan = replace(
        plan,
        alignment=replace(plan.alignment, **one),
        actions=replace(plan.actions, **one),
        rounds=tuple(replace(each, training=replace(each.training, **one)) for each in plan.rounds),
    )
    for stage in ("alignment", "actions"):
        train(plan, tmp_path, stage)
    write_shard(tmp_path / DEMONSTRATIONS, "own-00000", shown[1])
    train(plan, tmp_path, "refinement_1")
    for stage in weights:
        publish_stages(plan, tmp_path, tmp_path / f"to_{stage}", stages=("alignment", "actions", stage))
        weights[stage] = (tmp_path / f"to_{stage}" / "dataset_statistics.json").read_text()
    assert weights["actions"] == weights["refinement_1"]


def test_stages_make_a_checkpoint_that_the_policy_runs(embodiment, shown, tmp_path):
    write_shard(tmp_path / DEMONSTRATIONS, "expert-00000", concatenate(shown))
    plan = Plan()
    short = {"steps": 2, "batch_size": 4, "warmup_steps": 1, "log_every": 1}
    plan = replace(
        plan,
        alignment=replace(plan.alignment, **short),
        actions=replace(plan.actions, **short),
        rounds=tuple(replace(one, training=replace(one.training, **short)) for one in plan.rounds),
    )
    before = torch.get_num_threads()
    assert list(plan.stages) == ["alignment", "actions", "refinement_1", "refinement_2", "refinement_3"]
    for stage in plan.stages:
        train(plan, tmp_path, stage)
        assert (tmp_path / stage / WEIGHTS).exists()
        assert len(read_metrics(tmp_path / stage)) == 2
    assert torch.get_num_threads() == before
    publish_stages(plan, tmp_path, tmp_path / "checkpoint", ("Success, pick: 1/1",))
    assert "- Success, pick: 1/1\n" in (tmp_path / "checkpoint" / "README.md").read_text()
    assert sum(path.stat().st_size for path in (tmp_path / "checkpoint").iterdir()) < 20e6
    policy = DreamVLAPolicy.load(ModelSettings(checkpoint=str(tmp_path / "checkpoint")), embodiment)
    assert policy.notes[0].endswith("of 112 x 112 pixels, without JPEG, not cropped")
    statistics = policy._model.statistics
    states = SampleStore(tmp_path / DEMONSTRATIONS).column("proprio")
    np.testing.assert_allclose(statistics.proprio[KEY].low, np.quantile(states, 0.01, axis=0), atol=1e-5)
    env = TabletopEnv(image_size=(56, 56))
    try:
        seen = env.reset(RECIPE.task(0)[0], 3)
    finally:
        env.close()
    state = RobotState(0, 0, seen.end_effector, seen.joint_positions, gripper=seen.gripper)
    observation = Observation(seen.images, dict.fromkeys(seen.images, 0), state, seen.instruction)
    assert len(policy.infer(observation).motion) == 8


def test_a_policy_that_drives_is_told_by_the_expert_what_it_should_have_done(embodiment, layout, tmp_path):
    checkpoint = tmp_path / "untrained"
    initialize_checkpoint(layout, checkpoint, "flow_matching", 0)
    driver = PolicyDriver.load(checkpoint, embodiment)
    (samples,) = demonstrations(RECIPE, embodiment, IMAGES, [0], driver)
    # Knowing nothing it never gets there, and is told to come down all the time.
    assert len(samples) == 60
    assert np.abs(samples.actions[-1, :, :3]).sum() > 0.05
    moved = np.diff(samples.proprio[:, :3], axis=0)
    assert np.abs(moved - samples.actions[:-1, 0, :3]).max() > 0.01
