"""Tests of the thread that predicts, without a ROS graph."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.nodes.policy.goal import GoalRequest, GoalRun
from dream_vla_ros.nodes.policy.inference import InferenceWorker, Pace, warm_up
from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.frames import MissingInputError
from dream_vla_ros.policy.policy import PolicyResult
from dream_vla_ros.policy.settling import SettleSettings

STEPS = 4
PERIOD_S = 0.02
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Seen:
    oldest_stamp_ns: int
    instruction: str
    end_effector: Pose | None = None
    gripper: float | None = None


class CountingObserver:
    """Hands out observations with rising stamps, or says that nothing came."""

    def __init__(self):
        self.missing = ""
        self.asked = []
        self.stamp_ns = 100

    def observe(self, instruction, newer_than_ns):
        self.asked.append(newer_than_ns)
        if self.missing:
            raise MissingInputError(self.missing)
        self.stamp_ns = max(self.stamp_ns, newer_than_ns) + 1
        return Seen(self.stamp_ns, instruction)


class SlowPolicy:
    """Moves a little; can be made to take its time or to fail."""

    name, objective, notes = "slow", "scripted", ()

    def __init__(self):
        self.resets = 0
        self.seen = []
        self.error = None
        self.speed_m = 0.01
        self.gate = threading.Event()
        self.gate.set()
        self.threads = set()

    def infer(self, observation):
        self.threads.add(threading.get_ident())
        self.seen.append(observation)
        assert self.gate.wait(TIMEOUT_S)
        if self.error is not None:
            raise self.error
        translation = np.tile([self.speed_m, 0.0, 0.0], (STEPS, 1))
        return PolicyResult(Motion(translation, np.zeros((STEPS, 3)), np.ones(STEPS)), PERIOD_S)

    def reset(self):
        self.resets += 1

    def close(self):
        pass


class Bench:
    """A worker with its policy and observer, and what it published."""

    def __init__(self):
        self.policy, self.observer = SlowPolicy(), CountingObserver()
        self.published, self.errors, self.ended = [], [], []
        self.worker = InferenceWorker(self.policy, self.observer, self.publish, self.errors.append)

    def publish(self, run, prediction):
        sent = run.publish(lambda: self.published.append((run, prediction, time.monotonic())), 0.01)
        return 0.01 if sent else None

    def begin(self, accepted_ros_ns=0, min_interval_s=0.001, settle_s=0.0, name=b"g"):
        request = GoalRequest(name * 16, name.decode(), "", 10.0, accepted_ros_ns, time.monotonic_ns())
        run = GoalRun(request, self.ended.append)
        pace = Pace(execute_s=0.0, min_interval_s=min_interval_s, settle=SettleSettings(time=settle_s))
        self.worker.begin(run, pace)
        return run

    def wait(self, condition):
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.001)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.policy.gate.set()
    assert made.worker.stop(TIMEOUT_S)


def test_predicts_again_and_again_from_newer_observations(bench):
    run = bench.begin(accepted_ros_ns=500)
    bench.wait(lambda: len(bench.published) >= 3)
    run.end(Outcome.CANCELED)
    stamps = [prediction.stamp_ns for _, prediction, _ in bench.published]
    assert stamps[0] > 500, "images from before the goal were used"
    assert stamps == sorted(set(stamps))
    assert bench.observer.asked[:3] == [500, *stamps[:2]]
    assert bench.policy.threads.isdisjoint({threading.get_ident()})
    assert len(bench.worker.latencies) >= 2


def test_rests_between_predictions(bench):
    bench.begin(min_interval_s=0.05)
    bench.wait(lambda: len(bench.published) >= 4)
    times = [moment for _, _, moment in bench.published]
    assert np.diff(times).min() > 0.03


def test_waits_for_input_and_goes_on_when_it_comes(bench):
    bench.observer.missing = "no image on '/left'"
    run = bench.begin()
    bench.wait(lambda: run.waited()[1] == "no image on '/left'")
    assert not bench.published
    bench.observer.missing = ""
    bench.worker.poke()
    bench.wait(lambda: bench.published)
    assert run.waited() == (0.0, "")


def test_error_ends_the_goal_and_the_next_one_runs(bench):
    bench.policy.error = RuntimeError("CUDA error: device-side assert")
    run = bench.begin()
    bench.wait(lambda: not run.running)
    assert run.outcome == (Outcome.FAULT, "inference failed: RuntimeError: CUDA error: device-side assert")
    assert "Traceback" in bench.errors[0]
    bench.policy.error = None
    following = bench.begin()
    bench.wait(lambda: bench.published)
    assert following.running


def test_goal_that_ends_during_a_prediction_publishes_nothing(bench):
    bench.policy.gate.clear()
    run = bench.begin()
    bench.wait(lambda: bench.policy.seen)
    run.end(Outcome.CANCELED)
    following = bench.begin(name=b"h")
    bench.policy.gate.set()
    bench.wait(lambda: bench.published)
    assert all(published is following for published, _, _ in bench.published)
    assert bench.policy.resets == 2


def test_newer_goal_is_begun_at_once_however_long_the_pause(bench):
    first = bench.begin(min_interval_s=60.0)
    bench.wait(lambda: bench.published)
    second = bench.begin(name=b"h")
    first.end(Outcome.PREEMPTED)
    bench.worker.poke()
    bench.wait(lambda: any(run is second for run, _, _ in bench.published))


def test_motion_that_settles_ends_the_goal(bench):
    bench.policy.speed_m = 0.0
    run = bench.begin(settle_s=0.05)
    bench.wait(lambda: not run.running)
    outcome, message = run.outcome
    assert outcome is Outcome.SETTLED
    assert "no more motion for" in message


def test_stops_in_the_middle_of_a_pause():
    bench = Bench()
    bench.begin(min_interval_s=60.0)
    bench.wait(lambda: bench.published)
    assert bench.worker.stop(1.0)


def test_stop_tells_when_a_prediction_hangs(bench):
    bench.policy.gate.clear()
    bench.begin()
    bench.wait(lambda: bench.policy.seen)
    assert not bench.worker.stop(0.05)


def test_warm_up_runs_the_policy_and_forgets_it():
    policy = SlowPolicy()
    assert warm_up(policy, Seen(0, "stand still")) >= 0.0
    assert len(policy.seen) == 2
    assert policy.resets == 1
    policy.error = ValueError("weights are not finite")
    with pytest.raises(ValueError, match="not finite"):
        warm_up(policy, Seen(0, "stand still"))
