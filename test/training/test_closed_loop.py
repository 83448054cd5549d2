"""The loop of policy, controller and simulation without DDS."""

from __future__ import annotations

import pytest

from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.policy import PolicyResult
from dream_vla_ros.sim.expert import PERIOD_S, plan
from dream_vla_ros.sim.goals import Lifted, Stacked
from dream_vla_ros.sim.tasks import Task
from dream_vla_ros.training.closed_loop import ControlledTabletop


class Expert:
    """Knows the table, and so shows what the loop itself costs."""

    name, objective, notes = "expert", "scripted", ()

    def __init__(self, goal):
        self.goal, self.driver, self.start, self.words = goal, None, None, []

    def reset(self):
        self.start = self.driver.sim.state()

    def infer(self, observation):
        self.words.append(observation.instruction)
        assert {image.shape for image in observation.images.values()} == {(32, 32, 3)}
        chunk = plan(self.goal, self.start, self.driver.sim.state(), 8)
        return PolicyResult(Motion(chunk.translation, chunk.rotation, chunk.gripper), PERIOD_S)

    def close(self):
        pass


def run(embodiment, goal, judged=None, seed=11, **arguments):
    expert = Expert(goal)
    expert.driver = ControlledTabletop(embodiment, expert, camera_pixels=32)
    try:
        return expert.driver.run(Task(judged or goal, time_limit_s=12.0), seed, **arguments), expert
    finally:
        expert.driver.close()


@pytest.mark.parametrize("goal", [Lifted("red"), Stacked("green", "blue")])
def test_expert_succeeds_through_the_controller(embodiment, goal):
    trial, _ = run(embodiment, goal)
    assert trial.success
    assert 2.0 < trial.time_s < 12.0
    assert trial.touched == ()


def test_another_block_is_no_success_and_is_noticed(embodiment):
    trial, _ = run(embodiment, Lifted("yellow"), judged=Lifted("red"))
    assert not trial.success
    assert trial.time_s == pytest.approx(12.0, abs=0.05)
    assert trial.touched == ("yellow",)


def test_words_reach_the_policy_once_per_half_chunk(embodiment):
    trial, expert = run(embodiment, Lifted("red"), instruction="grab the red block")
    assert trial.instruction == "grab the red block"
    assert set(expert.words) == {"grab the red block"}
    assert len(expert.words) == pytest.approx(trial.time_s / 0.8, abs=1.5)


def test_same_seed_same_trial(embodiment):
    first, _ = run(embodiment, Lifted("blue"), seed=5)
    second, _ = run(embodiment, Lifted("blue"), seed=5)
    assert first == second
