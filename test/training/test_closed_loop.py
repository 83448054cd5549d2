"""The loop of policy, controller and environment without DDS."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.geometry import Pose
from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.policy import PolicyResult
from dream_vla_ros.robot_state import RobotState
from dream_vla_ros.sim.expert import PERIOD_S, plan
from dream_vla_ros.sim.goals import Direction, Lifted, Pushed, Stacked
from dream_vla_ros.sim.tasks import Task
from dream_vla_ros.training.closed_loop import ClosedLoop, End, LoopSettings
from dream_vla_ros.training.environment import ASKED, Ending, Moment
from dream_vla_ros.training.tabletop_environment import SCENE, Scenario, TabletopEnvironment

DOWN = np.array([1.0, 0.0, 0.0, 0.0])


class Expert:
    """Knows the table, and so shows what the loop itself costs."""

    name, objective, notes = "expert", "scripted", ()

    def __init__(self, goal, environment):
        self.goal, self.sim, self.start, self.words = goal, environment.sim, None, []

    def reset(self):
        self.start = self.sim.state()

    def infer(self, observation):
        self.words.append(observation.instruction)
        assert {image.shape for image in observation.images.values()} == {(32, 32, 3)}
        chunk = plan(self.goal, self.start, self.sim.state(), 8)
        return PolicyResult(Motion(chunk.translation, chunk.rotation, chunk.gripper), PERIOD_S)

    def close(self):
        pass


def run(embodiment, goal, asked=None, scene=None, seed=11, words="as told", film=None, **settings):
    environment = TabletopEnvironment(embodiment, camera_pixels=32)
    try:
        expert = Expert(goal, environment)
        loop = ClosedLoop(embodiment, expert, environment, LoopSettings(time_limit_s=12.0, **settings))
        scenario = Scenario(Task(asked or goal), Task(scene or asked or goal))
        return loop.run(scenario, seed, words, film), expert
    finally:
        environment.close()


@pytest.mark.parametrize("goal", [Lifted("red"), Stacked("green", "blue")])
def test_expert_succeeds_through_the_controller(embodiment, goal):
    trial, _ = run(embodiment, goal)
    assert trial.success
    assert (trial.end, trial.settled) == (End.DONE, False)
    assert 2.0 < trial.time_s < 12.0
    assert trial.notes == {"touched": []}


def test_another_block_is_no_success_and_is_noticed(embodiment):
    trial, _ = run(embodiment, Lifted("yellow"), asked=Lifted("red"))
    assert not trial.success
    assert (trial.goal, trial.end) == ("", End.SETTLED)
    assert trial.notes == {"touched": ["yellow"]}


def test_who_goes_by_the_scene_is_found_out(embodiment):
    trial, _ = run(embodiment, Lifted("yellow"), asked=Lifted("red"), scene=Lifted("yellow"))
    assert not trial.success
    assert (trial.goal, trial.end) == (SCENE, End.DONE)


def test_a_goal_goes_on_until_the_policy_settles(embodiment):
    done, _ = run(embodiment, Lifted("red"))
    trial, _ = run(embodiment, Lifted("red"), until_settled=True)
    assert trial.success
    assert trial.settled
    assert done.time_s + 1.0 < trial.time_s < done.time_s + 6.0


def test_words_reach_the_policy_once_per_half_chunk(embodiment):
    trial, expert = run(embodiment, Lifted("red"), words="grab the red block")
    assert trial.instruction == "grab the red block"
    assert set(expert.words) == {"grab the red block"}
    assert len(expert.words) == pytest.approx(trial.time_s / 0.8, abs=1.5)


def test_same_seed_same_trial_also_when_it_is_filmed(embodiment):
    first, _ = run(embodiment, Lifted("blue"), seed=5)
    shots = []
    second, _ = run(embodiment, Lifted("blue"), seed=5, film=lambda images, now: shots.append(now.time_s))
    assert first == second
    assert np.diff(shots) == pytest.approx(0.1, abs=0.021)
    assert shots[-1] == pytest.approx(first.time_s, abs=0.15)


def test_a_scene_for_another_task_has_what_is_asked_for_too(embodiment):
    left, right = Pushed("red", Direction.LEFT), Pushed("pink", Direction.RIGHT)
    trial, _ = run(embodiment, right, scene=left)
    assert trial.success
    with pytest.raises(ValueError, match="needs 4 to 5 blocks, not 3"):
        Task(Stacked("red", "pink")).draw_layout(3, np.random.default_rng(0), Task(Stacked("green", "blue")))


class PointEnvironment:
    """The protocol by itself: a point that goes where it is told, and counts what it is asked."""

    def __init__(self, period_s=0.02):
        self.period_s = period_s
        self.pose = Pose(np.array([0.3, 0.0, 0.2]), DOWN)
        self.time_s = 0.0

    def reset(self, task, seed):
        self.task = task
        return self.moment()

    def moment(self):
        stamp_ns = 10**9 + round(self.time_s * 1e9)
        state = RobotState(stamp_ns, stamp_ns, self.pose, {}, stamp_ns, 1.0)
        return Moment(self.time_s, state, frozenset([ASKED] if self.pose.position[2] > self.task else []))

    def step(self, command):
        if command.send and command.target is not None:
            self.pose = command.target
        self.time_s += self.period_s
        return self.moment()

    def look(self):
        return {"third_person": np.zeros((8, 8, 3), np.uint8), "wrist": np.zeros((8, 8, 3), np.uint8)}

    def end(self):
        return Ending({"height": round(float(self.pose.position[2]), 3)})


class Riser:
    """Goes up for a while."""

    name, objective, notes = "riser", "scripted", ()

    def reset(self):
        self.left = 3

    def infer(self, observation):
        self.left -= 1
        up = np.zeros((8, 3))
        up[:, 2] = 0.02 if self.left >= 0 else 0.0
        return PolicyResult(Motion(up, np.zeros((8, 3)), np.ones(8)), PERIOD_S)

    def close(self):
        pass


def test_any_environment_of_the_protocol_will_do(embodiment):
    trial = ClosedLoop(embodiment, Riser(), PointEnvironment()).run(0.25, 1, "rise")
    assert trial.success
    assert trial.notes["height"] > 0.25
    high = ClosedLoop(embodiment, Riser(), PointEnvironment()).run(0.9, 1, "rise")
    assert (high.success, high.end) == (False, End.SETTLED)


def test_an_environment_of_another_period_is_refused(embodiment):
    with pytest.raises(ValueError, match="control_rate"):
        ClosedLoop(embodiment, Riser(), PointEnvironment(0.05))
