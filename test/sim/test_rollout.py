import itertools

import numpy as np
import pytest

from dream_vla_ros.sim.appearance import MODEST_VARIATION
from dream_vla_ros.sim.environment import TabletopEnv
from dream_vla_ros.sim.rollout import RecoveryNoise, episodes, run_episode
from dream_vla_ros.sim.tasks import closed_tasks, task_from_instruction

TASK = task_from_instruction("pick up the red block")
ALWAYS = RecoveryNoise(probability=1.0)


@pytest.fixture(scope="module")
def env():
    made = TabletopEnv(image_size=(32, 32), variation=MODEST_VARIATION)
    yield made
    made.close()


def arrays(episode):
    return [
        *episode.images.values(),
        episode.end_effector,
        episode.gripper,
        episode.joints,
        *episode.blocks.values(),
        episode.chunks,
        episode.actions,
        episode.kicked,
    ]


def test_the_same_seed_gives_identical_arrays_whatever_was_run_before(env):
    first = run_episode(env, TASK, 5, noise=ALWAYS, vary_words=True)
    run_episode(env, task_from_instruction("push the green block to the left"), 6)
    second = run_episode(env, TASK, 5, noise=ALWAYS, vary_words=True)
    fresh_env = TabletopEnv(image_size=(32, 32), variation=MODEST_VARIATION)
    third = run_episode(fresh_env, TASK, 5, noise=ALWAYS, vary_words=True)
    fresh_env.close()
    for other in (second, third):
        assert first.instruction == other.instruction
        assert all(np.array_equal(a, b) for a, b in zip(arrays(first), arrays(other), strict=True))
    another = run_episode(env, TASK, 7, noise=ALWAYS)
    assert not np.array_equal(first.end_effector[0], another.end_effector[0])


def test_rows_belong_together(env):
    episode = run_episode(env, TASK, 0, chunk_size=5)
    steps = len(episode)
    assert all(len(rows) == steps for rows in arrays(episode))
    assert episode.chunks.shape == (steps, 5, 7)
    assert episode.images["wrist"].shape == (steps, 32, 32, 3)
    assert np.array_equal(episode.actions, episode.chunks[:, 0])
    assert episode.success
    # The next pose is where the action led, up to the arm's lag.
    moved = np.diff(episode.end_effector[:, :3], axis=0)
    assert np.allclose(moved, episode.actions[:-1, :3], atol=0.012)
    assert not episode.actions[-1, :6].any(), "it ends by holding"


def test_kicks_change_what_is_done_but_not_what_is_taught(env):
    kicked = 0
    for seed in range(12):
        episode = run_episode(env, TASK, seed, noise=ALWAYS)
        changed = np.any(episode.actions != episode.chunks[:, 0], axis=1)
        assert np.array_equal(changed, episode.kicked)
        assert episode.success
        kicked += episode.kicked.any()
    # A kick may be drawn for a time after the end only if it is late; most are seen.
    assert kicked >= 9


def test_the_share_of_kicked_episodes_is_the_one_asked_for():
    rng = np.random.default_rng(0)
    share = np.mean([bool(RecoveryNoise().draw(rng)) for _ in range(2000)])
    assert share == pytest.approx(0.7, abs=0.04)
    assert not any(RecoveryNoise(probability=0.0).draw(rng) for _ in range(20))


def test_kicks_stay_within_their_size():
    rng = np.random.default_rng(1)
    for kick in itertools.chain.from_iterable(ALWAYS.draw(rng).values() for _ in range(300)):
        assert np.linalg.norm(kick[:3]) <= ALWAYS.translation_m + 1e-12
        assert np.linalg.norm(kick[3:6]) <= ALWAYS.rotation_rad + 1e-12
        assert np.isnan(kick[6]) or kick[6] in (0.0, 1.0)


def test_a_generator_runs_task_after_task(env):
    tasks = itertools.cycle(closed_tasks())
    made = list(itertools.islice(episodes(env, tasks, first_seed=100), 3))
    assert [episode.seed for episode in made] == [100, 101, 102]
    assert [episode.instruction for episode in made] == [
        "pick up the red block",
        "pick up the green block",
        "pick up the blue block",
    ]


def test_words_vary_when_asked(env):
    words = {run_episode(env, TASK, seed, vary_words=True).instruction for seed in range(8)}
    assert len(words) > 2
    assert words <= set(TASK.instructions())


def test_an_environment_of_another_rate_is_refused():
    with pytest.raises(ValueError, match=r"every 0\.2 s, not every 0\.1 s"):
        run_episode(TabletopEnv(period_s=0.1, render=False), TASK, 0)


def test_wrong_noise_is_named():
    with pytest.raises(ValueError, match="probability"):
        RecoveryNoise(probability=1.5)
