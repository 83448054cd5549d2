"""What stops the arm, how soon it stands, and what may move it again."""

from __future__ import annotations

import numpy as np
import pytest
from control_bench import (
    CENTRE,
    GOAL,
    OTHER_GOAL,
    SECOND,
    STOP_S,
    Bench,
    check_limits,
    check_stands_in_time,
    chunk,
    executing,
)

from dream_vla_ros.control import NO_GOAL, Cause, ControlSettings, Mode, Reason
from dream_vla_ros.geometry import Pose
from dream_vla_ros.robot_state import RobotState


def test_an_unreadable_chunk_of_the_goal_holds_until_a_newer_image():
    bench = executing()
    since = len(bench.commands)
    captured_before_ns = bench.ros_ns - SECOND // 10
    bench.controller.refuse_chunk(GOAL, "chunk 2: rotation of step 3 is not finite")
    command = bench.tick()
    assert command.mode is Mode.HOLDING
    assert command.reason.cause is Cause.CHUNK_INVALID
    assert "step 3 is not finite" in command.reason.message
    check_stands_in_time(bench, since)
    late = chunk(captured_before_ns, (0.02, 0, 0), chunk_id=3)
    assert bench.controller.take_chunk(late, bench.ros_ns).cause is Cause.CHUNK_LATE
    assert bench.give((0.02, 0, 0), chunk_id=4) is None
    assert bench.tick().mode is Mode.EXECUTING


def test_an_unreadable_chunk_of_another_goal_changes_nothing():
    bench = executing()
    bench.controller.refuse_chunk(OTHER_GOAL, "chunk 9: no steps")
    assert bench.tick().mode is Mode.EXECUTING
    assert bench.last.counters.chunks_refused == 1


def test_the_end_of_the_goal_flushes_and_ramps_to_rest():
    bench = executing()
    since = len(bench.commands)
    before = bench.target.position[0]
    bench.end()
    assert bench.tick().mode is Mode.IDLE
    assert bench.last.reason.cause is Cause.NO_GOAL
    check_stands_in_time(bench, since)
    assert bench.target.position[0] - before < 0.1 * STOP_S
    assert bench.give((0.02, 0, 0), chunk_id=2).cause is Cause.CHUNK_WRONG_GOAL
    bench.begin(GOAL)
    assert bench.tick().mode is Mode.IDLE


def test_a_resting_arm_is_told_to_rest_a_little_longer_and_then_left_alone():
    bench = executing()
    bench.end()
    bench.run(0.5)
    assert bench.last.send
    bench.run(0.5)
    assert not bench.last.send


def test_a_new_goal_flushes_the_old_one_s_chunk():
    bench = executing()
    since = len(bench.commands)
    bench.begin(OTHER_GOAL)
    command = bench.tick()
    assert command.mode is Mode.HOLDING
    assert command.reason.cause is Cause.WAITING_FOR_CHUNK
    assert command.goal_id == OTHER_GOAL
    assert command.counters.chunks_accepted == 0
    check_stands_in_time(bench, since)
    assert bench.give((0.02, 0, 0), chunk_id=2).cause is Cause.CHUNK_WRONG_GOAL
    assert bench.give((0.02, 0, 0), chunk_id=1, goal=OTHER_GOAL) is None
    assert bench.tick().mode is Mode.EXECUTING


def test_a_silent_policy_is_lost_and_its_goal_with_it():
    bench = executing()
    bench.heartbeats = False
    bench.until(Mode.IDLE)
    since = len(bench.commands) - 1
    assert bench.last.reason.cause is Cause.POLICY_LOST
    assert "timing.policy_timeout 0.3 s" in bench.last.reason.message
    check_stands_in_time(bench, since)
    bench.begin(GOAL)
    assert bench.tick().mode is Mode.IDLE
    assert bench.last.reason.cause is Cause.POLICY_LOST
    bench.begin(OTHER_GOAL)
    bench.give((0.02, 0, 0), goal=OTHER_GOAL)
    assert bench.tick().mode is Mode.EXECUTING


def test_the_emergency_stop_is_latched_and_forgets_the_goal():
    bench = executing()
    bench.heartbeats = True
    since = len(bench.commands)
    bench.controller.stop("the red button")
    command = bench.tick()
    assert command.mode is Mode.STOPPED
    assert command.reason == Reason(Cause.EMERGENCY_STOP, "the red button")
    check_stands_in_time(bench, since)
    assert bench.give((0.02, 0, 0), chunk_id=2).cause is Cause.CHUNK_WRONG_GOAL
    bench.begin(OTHER_GOAL)
    bench.run(0.3)
    assert bench.last.mode is Mode.STOPPED
    assert bench.last.goal_id == NO_GOAL

    assert bench.controller.resume()
    assert not bench.controller.resume()
    bench.run(0.3)
    assert bench.last.mode is Mode.IDLE
    assert "resumed" in bench.last.reason.message
    for goal in (GOAL, OTHER_GOAL):
        assert bench.give((0.02, 0, 0), goal=goal).cause is Cause.CHUNK_WRONG_GOAL
    bench.begin(bytes([3]) * 16)
    bench.give((0.02, 0, 0), goal=bytes([3]) * 16)
    assert bench.tick().mode is Mode.EXECUTING
    check_limits(bench)


def test_a_stale_state_holds_and_falls_silent_until_a_newer_image():
    bench = executing()
    bench.measuring = False
    bench.until(Mode.NO_STATE)
    since = len(bench.commands) - 1
    assert bench.last.reason.cause is Cause.STATE_STALE
    assert "timing.state_max_age 0.2 s" in bench.last.reason.message
    assert bench.last.measured_age_s == pytest.approx(0.22, abs=0.021)
    captured_ns = bench.ros_ns
    check_stands_in_time(bench, since)
    bench.run(1.0)
    assert not bench.last.send
    bench.measuring = True
    assert bench.tick().mode is Mode.HOLDING
    late = chunk(captured_ns, (0.02, 0, 0), chunk_id=2)
    assert bench.controller.take_chunk(late, bench.ros_ns).cause is Cause.CHUNK_LATE
    assert not bench.tick().linear.any()
    assert bench.give((0.02, 0, 0), chunk_id=3) is None
    assert bench.tick().mode is Mode.EXECUTING
    check_limits(bench)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (lambda b: RobotState(b.ros_ns + SECOND, b.steady_ns, CENTRE, {}), "in the future"),
        (
            lambda b: RobotState(b.ros_ns, b.steady_ns, Pose(np.array([1e300, 0, 0]), CENTRE.quaternion), {}),
            "farther off than any arm reaches",
        ),
    ],
)
def test_an_unbelievable_state_holds(state, words):
    bench = executing()
    since = len(bench.commands)
    bench.measuring = False
    bench.state = state(bench)
    command = bench.tick()
    assert command.mode is Mode.NO_STATE
    assert command.reason.cause is Cause.STATE_INVALID
    assert words in command.reason.message
    bench.state = None
    check_stands_in_time(bench, since)


@pytest.mark.parametrize("offset_s", [-5.0, -0.1, 0.5, 3600.0])
def test_a_clock_that_was_set_holds_until_a_newer_image(offset_s: float):
    bench = executing()
    before_ns = bench.ros_ns - 1
    since = len(bench.commands)
    bench.set_clock(offset_s)
    command = bench.tick()
    assert command.mode is Mode.HOLDING
    assert command.reason.cause is Cause.CLOCK_JUMP
    assert f"{offset_s:+.3f} s" in command.reason.message
    check_stands_in_time(bench, since)
    stale = chunk(before_ns, (0.02, 0, 0), chunk_id=2)
    assert bench.controller.take_chunk(stale, bench.ros_ns) is not None
    assert bench.give((0.02, 0, 0), chunk_id=3) is None
    first = bench.tick()
    assert (first.mode, first.step) == (Mode.EXECUTING, 0)


@pytest.mark.parametrize("offset_s", [-5.0, 5.0])
def test_until_a_state_comes_after_a_clock_was_set_that_is_the_cause(offset_s: float):
    bench = executing()
    since = len(bench.commands)
    bench.set_clock(offset_s)
    bench.measuring = False
    command = bench.tick()
    assert (command.mode, command.reason.cause) == (Mode.NO_STATE, Cause.CLOCK_JUMP)
    assert f"{offset_s:+.3f} s" in command.reason.message
    check_stands_in_time(bench, since)
    # A state that does not come is another matter, and so is one by a clock that was not set.
    bench.run(bench.robot.timing.state_max_age + bench.period_s)
    assert bench.last.reason.cause in (Cause.STATE_STALE, Cause.STATE_INVALID)
    bench.measuring = True
    assert bench.tick().mode is Mode.HOLDING


def test_a_fault_of_an_adapter_holds_with_its_words():
    bench = executing()
    since = len(bench.commands)
    bench.controller.interrupt(Reason(Cause.ADAPTER, "the driver is gone"))
    assert bench.tick().mode is Mode.HOLDING
    assert bench.last.reason == Reason(Cause.ADAPTER, "the driver is gone")
    check_stands_in_time(bench, since)


def switched(ends_goal: bool = True) -> Bench:
    """A bench that executes a chunk while a dead-man switch is held."""
    bench = Bench(settings=ControlSettings(dead_man_topic="held", dead_man_ends_goal=ends_goal))
    bench.controller.dead_man.hear(True, bench.steady_ns)
    bench.tick()
    bench.begin()
    bench.tick()
    assert bench.give((0.02, 0.0, 0.0)) is None
    for _ in range(20):
        bench.controller.dead_man.hear(True, bench.steady_ns)
        bench.tick()
    assert bench.last.mode is Mode.EXECUTING
    return bench


def test_letting_go_of_the_dead_man_switch_ends_the_goal():
    bench = switched()
    since = len(bench.commands)
    bench.controller.dead_man.hear(False, bench.steady_ns)
    command = bench.tick()
    assert (command.mode, command.reason.cause) == (Mode.IDLE, Cause.DEAD_MAN)
    assert "not held; hold it, then send a new goal" in command.reason.message
    check_stands_in_time(bench, since)
    bench.controller.dead_man.hear(True, bench.steady_ns)
    bench.heartbeats = True
    assert bench.give((0.02, 0.0, 0.0), chunk_id=2).cause is Cause.CHUNK_WRONG_GOAL
    command = bench.tick(20)
    assert (command.mode, command.reason.cause) == (Mode.IDLE, Cause.NO_GOAL)
    assert not any(command.linear.any() for command in bench.commands[-10:])

    bench.controller.dead_man.hear(True, bench.steady_ns)
    bench.begin(OTHER_GOAL)
    bench.tick()
    assert bench.give((0.02, 0.0, 0.0), goal=OTHER_GOAL) is None
    assert bench.tick().mode is Mode.EXECUTING
    check_limits(bench)


def test_a_dead_man_switch_that_is_let_go_while_the_state_is_lost_ends_the_goal_all_the_same():
    bench = switched()
    bench.measuring = False
    bench.until(Mode.NO_STATE)
    bench.controller.dead_man.hear(False, bench.steady_ns)
    bench.tick()
    bench.controller.dead_man.hear(True, bench.steady_ns)
    bench.measuring = True
    assert bench.tick().mode is Mode.IDLE


def test_where_the_goal_goes_on_it_takes_the_switch_and_a_newer_image():
    bench = switched(ends_goal=False)
    since = len(bench.commands)
    bench.controller.dead_man.hear(False, bench.steady_ns)
    command = bench.tick()
    assert (command.mode, command.reason.cause) == (Mode.HOLDING, Cause.DEAD_MAN)
    check_stands_in_time(bench, since)
    assert bench.give((0.02, 0.0, 0.0), chunk_id=2).cause is Cause.DEAD_MAN
    captured_ns = bench.ros_ns - 1
    bench.tick()
    bench.controller.dead_man.hear(True, bench.steady_ns)
    bench.tick()
    late = chunk(captured_ns, (0.02, 0.0, 0.0), chunk_id=3)
    assert bench.controller.take_chunk(late, bench.ros_ns).cause is Cause.CHUNK_LATE
    assert bench.give((0.02, 0.0, 0.0), chunk_id=4) is None
    assert bench.tick().mode is Mode.EXECUTING
    check_limits(bench)


def test_a_dead_man_switch_that_falls_silent_is_let_go():
    bench = switched()
    command = bench.until(Mode.IDLE)
    assert command.reason.cause is Cause.DEAD_MAN
    assert "dead_man_timeout 0.2 s" in command.reason.message
    check_stands_in_time(bench, len(bench.commands) - 1)


def test_without_a_word_of_the_dead_man_switch_no_goal_begins():
    bench = Bench(settings=ControlSettings(dead_man_topic="held"))
    bench.tick()
    bench.begin()
    command = bench.tick()
    assert (command.mode, command.reason.cause) == (Mode.IDLE, Cause.DEAD_MAN)
    assert bench.give((0.02, 0.0, 0.0)).cause is Cause.CHUNK_WRONG_GOAL
    assert not bench.tick(5).linear.any()
