"""A human who takes the arm over from the policy, and hands it back or falls silent."""

from __future__ import annotations

import numpy as np
import pytest
from control_bench import GOAL, OTHER_GOAL, Bench, check_limits, chunk

from dream_vla_ros.control import NO_GOAL, Cause, Mode
from dream_vla_ros.control.drivers import Drivers

HUMAN = bytes([9]) * 16
STOP_S = 0.2


class Shared(Bench):
    """A bench whose human beats as often as the policy does while he has the arm."""

    human: bool = False

    def take(self) -> None:
        self.human = True
        self.controller.heartbeat(True, HUMAN, self.steady_ns, human=True)

    def hand_back(self) -> None:
        self.human = False
        self.controller.heartbeat(False, NO_GOAL, self.steady_ns, human=True)

    def _beat(self) -> None:
        super()._beat()
        if self.human:
            self.controller.heartbeat(True, HUMAN, self.steady_ns, human=True)


@pytest.fixture
def bench() -> Shared:
    """A bench half a second into the policy's chunk along x."""
    made = Shared()
    made.tick()
    made.begin()
    made.tick()
    assert made.give((0.02, 0.0, 0.0), steps=20) is None
    made.run(0.5)
    assert made.last.linear[0] == pytest.approx(0.1)
    return made


def drive(bench: Bench, seconds: float, translation: tuple[float, float, float], first_id: int = 1) -> None:
    """Drive as a human does, with short chunks of a tick's steps."""
    for number in range(round(seconds / bench.period_s)):
        made = chunk(
            bench.ros_ns, translation, steps=8, period_s=0.02, goal=HUMAN, chunk_id=first_id + number
        )
        assert bench.controller.take_chunk(made, bench.ros_ns) is None
        bench.tick()


def test_a_human_is_followed_as_fast_as_he_says_and_never_drawn_back(bench: Shared):
    bench.take()
    bench.tick(15)
    pushed = chunk(bench.ros_ns, (0.002, 0.0, 0.0), steps=40, period_s=0.02, goal=HUMAN)
    assert bench.controller.take_chunk(pushed, bench.ros_ns) is None
    bench.tick(20)
    captured_ns = bench.ros_ns
    bench.tick(5)
    reached = bench.target.position[0]
    late = chunk(captured_ns, steps=40, period_s=0.02, goal=HUMAN, chunk_id=2)
    assert bench.controller.take_chunk(late, bench.ros_ns) is None
    for _ in range(20):
        assert bench.tick().target.position[0] >= reached - 1e-9


def test_the_arm_stands_when_a_human_takes_over_and_then_follows_him(bench: Shared):
    bench.take()
    taken = bench.tick()
    assert taken.taken_over
    assert taken.goal_id == HUMAN
    assert (taken.mode, taken.reason.cause) == (Mode.HOLDING, Cause.TAKEN_OVER)
    bench.run(STOP_S)
    assert not bench.last.linear.any()
    before = bench.target.position.copy()
    drive(bench, 1.0, (0.0, 0.001, 0.0))
    bench.run(STOP_S)
    moved = bench.target.position - before
    assert moved[1] > 0.045
    assert moved[0] == pytest.approx(0.0, abs=1e-9)
    check_limits(bench)


def test_the_policys_chunks_move_nothing_meanwhile_and_are_not_refusals(bench: Shared):
    refused = bench.controller.counters.chunks_refused
    bench.take()
    bench.run(STOP_S)
    before = bench.target.position.copy()
    refusal = bench.give((0.02, 0.0, 0.0), chunk_id=2)
    assert refusal.cause is Cause.TAKEN_OVER
    bench.run(1.0)
    np.testing.assert_array_equal(bench.target.position, before)
    assert bench.last.counters.chunks_refused == 0
    bench.hand_back()
    bench.tick()
    assert bench.last.counters.chunks_refused == refused


def test_after_the_hand_back_only_newer_chunks_of_the_same_goal_move_the_arm(bench: Shared):
    accepted = bench.controller.counters.chunks_accepted
    bench.take()
    bench.run(0.3)
    stale = chunk(bench.ros_ns, (0.02, 0.0, 0.0), chunk_id=7)
    bench.run(0.3)
    bench.hand_back()
    late = chunk(bench.ros_ns, (0.02, 0.0, 0.0), goal=HUMAN, chunk_id=3)
    assert bench.controller.take_chunk(late, bench.ros_ns).cause is Cause.TAKEN_OVER
    command = bench.run(0.1)
    assert command.counters.chunks_refused == 0
    assert not command.taken_over
    assert command.goal_id == GOAL
    assert command.counters.chunks_accepted == accepted
    assert not command.linear.any()
    assert bench.controller.take_chunk(stale, bench.ros_ns).cause is Cause.CHUNK_LATE
    assert bench.give((0.0, 0.0, 0.01), chunk_id=8) is None
    assert bench.run(0.5).linear[2] == pytest.approx(0.05)
    check_limits(bench)


def test_a_human_who_falls_silent_takes_both_goals_with_him(bench: Shared):
    bench.take()
    drive(bench, 0.4, (0.0, 0.001, 0.0))
    bench.human = False
    bench.run(bench.robot.timing.policy_timeout + STOP_S + 0.1)
    assert (bench.last.mode, bench.last.reason.cause) == (Mode.IDLE, Cause.POLICY_LOST)
    assert "human" in bench.last.reason.message
    assert not bench.last.linear.any()
    assert bench.give((0.02, 0.0, 0.0), chunk_id=3).cause is Cause.CHUNK_WRONG_GOAL
    check_limits(bench)


def test_a_policy_that_dies_meanwhile_does_not_come_back(bench: Shared):
    bench.take()
    for _ in range(20):
        bench.controller.heartbeat(True, HUMAN, bench.steady_ns, human=True)
        bench.heartbeats = False
        bench.run(0.1)
    assert bench.last.goal_id == HUMAN
    bench.hand_back()
    bench.tick()
    assert bench.last.mode is Mode.IDLE
    bench.heartbeats = True
    bench.begin(GOAL)
    bench.tick()
    assert bench.last.mode is Mode.IDLE


def test_a_goal_that_replaces_the_suspended_one_counts_from_zero(bench: Shared):
    bench.take()
    bench.run(0.2)
    bench.begin(OTHER_GOAL)
    bench.run(0.2)
    assert bench.last.goal_id == HUMAN
    bench.hand_back()
    bench.tick()
    assert bench.last.goal_id == OTHER_GOAL
    assert bench.last.counters.chunks_accepted == 0


def test_an_emergency_stop_ends_both_for_good(bench: Shared):
    bench.take()
    bench.run(0.1)
    bench.controller.stop("pressed")
    bench.run(0.5)
    assert bench.last.mode is Mode.STOPPED
    bench.controller.resume()
    bench.run(0.5)
    assert bench.last.mode is Mode.IDLE
    assert not bench.last.taken_over


def test_a_human_drives_without_any_policy():
    bench = Shared(heartbeats=False)
    bench.tick()
    for _ in range(5):
        bench.take()
        drive(bench, 0.1, (0.001, 0.0, 0.0), first_id=1 + len(bench.commands))
    assert bench.last.linear[0] > 0.04
    bench.hand_back()
    bench.run(STOP_S)
    assert bench.last.mode is Mode.IDLE
    assert not bench.last.linear.any()


def test_a_dropped_human_goal_never_comes_back():
    drivers = Drivers()
    assert drivers.heartbeat(True, HUMAN, 0, human=True)
    drivers.drop()
    assert not drivers.heartbeat(True, HUMAN, 1, human=True)
    assert drivers.goal_id is None
