import numpy as np
import pytest

from dream_vla_ros.sim.environment import TabletopEnv
from dream_vla_ros.sim.tasks import task_from_instruction

TASK = task_from_instruction("pick up the red block")
STILL = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def env():
    made = TabletopEnv(image_size=(32, 40))
    yield made
    made.close()


def test_an_observation_has_what_a_policy_may_see(env):
    seen = env.reset(TASK, 0)
    assert {name: image.shape for name, image in seen.images.items()} == {
        "third_person": (32, 40, 3),
        "wrist": (32, 40, 3),
    }
    assert seen.instruction == "pick up the red block"
    assert list(seen.joint_positions)[-2:] == ["left_finger", "right_finger"]
    assert seen.gripper == pytest.approx(1.0)
    assert seen.time_s == 0.0
    assert env.reset(TASK, 0, "grab it").instruction == "grab it"


def test_the_seed_decides_the_episode(env):
    def play(seed):
        first = env.reset(TASK, seed)
        last = env.step([0.02, 0.01, -0.02, 0.0, 0.0, 0.1, 0.0]).observation
        return first, last

    for one, other in zip(play(3), play(3), strict=True):
        assert np.array_equal(one.end_effector.matrix, other.end_effector.matrix)
        assert all(np.array_equal(one.images[name], other.images[name]) for name in one.images)
    assert not np.array_equal(play(3)[0].images["third_person"], play(4)[0].images["third_person"])


def test_an_action_is_a_motion_in_the_base_axes_over_one_period(env):
    env.reset(TASK, 0)
    before = env.sim.ee_pose()
    for _ in range(4):
        result = env.step([0.01, -0.02, 0.005, 0.0, 0.0, 0.05, 1.0])
    env.step(STILL)
    env.step(STILL)
    translation, rotation = before.motion_to(env.sim.ee_pose())
    assert np.allclose(translation, [0.04, -0.08, 0.02], atol=1e-3)
    assert np.allclose(rotation, [0.0, 0.0, 0.2], atol=5e-3)
    assert result.observation.time_s == pytest.approx(0.8)


def test_the_target_never_runs_away_from_the_arm(env):
    env.reset(TASK, 0)
    for _ in range(30):
        env.step([0.03, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    ahead = np.linalg.norm(env.sim.target.position - env.sim.ee_pose().position)
    assert ahead < 0.085, "leash and one action"
    for _ in range(8):
        env.step([-0.03, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    assert env.sim.ee_pose().position[0] < 0.40, "it comes back at once"


def test_success_and_time_limit_are_told(env):
    env.reset(TASK, 0)
    steps = 0
    while not (result := env.step(STILL)).timed_out:
        assert not result.success
        steps += 1
    assert steps == round(TASK.time_limit_s / env.period_s) - 1


@pytest.mark.parametrize("action", [[0.0] * 6, [0.0] * 6 + [float("nan")], [float("inf")] + [0.0] * 6])
def test_an_action_that_is_not_seven_finite_numbers_is_refused(env, action):
    env.reset(TASK, 0)
    with pytest.raises(ValueError, match="seven finite numbers"):
        env.step(action)


def test_stepping_before_a_reset_is_refused():
    with pytest.raises(RuntimeError, match="reset the environment first"):
        TabletopEnv(render=False).step(STILL)


def test_a_period_that_is_no_multiple_of_the_control_period_is_refused():
    with pytest.raises(ValueError, match=r"period 0\.05"):
        TabletopEnv(period_s=0.05, render=False)
