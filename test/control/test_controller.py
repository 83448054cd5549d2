"""What the controller does with goals, chunks, states and stops, tick by tick."""

from __future__ import annotations

import math

import numpy as np
import pytest
from control_bench import (
    CENTRE,
    GOAL,
    OTHER_GOAL,
    SECOND,
    Bench,
    check_limits,
    chunk,
    embodiment,
    without_limits,
)

from dream_vla_ros.control import NO_GOAL, Cause, Mode, Reason
from dream_vla_ros.geometry import Pose
from dream_vla_ros.robot_state import RobotState

STOP_S = 0.2


def ready(**keywords: object) -> Bench:
    """A bench with a fresh state and an active goal."""
    bench = Bench(**keywords)
    bench.tick()
    bench.begin()
    bench.tick()
    return bench


def executing(**keywords: object) -> Bench:
    """A bench half a second into a chunk along x."""
    bench = ready(**keywords)
    assert bench.give((0.02, 0.0, 0.0)) is None
    bench.run(0.5)
    assert bench.last.mode is Mode.EXECUTING
    assert bench.last.linear[0] == pytest.approx(0.1)
    return bench


def check_stands_in_time(bench: Bench, since: int) -> None:
    """Assert that the arm stood within the stop time of a tick, and stayed."""
    ticks = round(STOP_S / bench.period_s)
    bench.tick(ticks + 5)
    for command in bench.commands[since + ticks :]:
        assert not command.linear.any()
        assert not command.angular.any()
    check_limits(bench)


def test_without_a_state_nothing_is_commanded():
    bench = Bench(measuring=False)
    bench.begin()
    command = bench.tick(3)
    assert command.mode is Mode.NO_STATE
    assert command.reason.cause is Cause.STATE_STALE
    assert command.target is None
    assert not command.send
    assert math.isnan(command.measured_age_s)
    refusal = bench.give((0.01, 0, 0))
    assert refusal.cause is Cause.STATE_STALE
    assert not bench.tick().linear.any()


def test_what_keeps_the_state_from_coming_is_said():
    controller = Bench().controller
    assert controller.tick(1, 1, None, missing="no pose on /ee_pose").reason.message == "no pose on /ee_pose"
    refused = controller.tick(2, 2, None, refused="/ee_pose: nan").reason
    assert refused == Reason(Cause.STATE_INVALID, "/ee_pose: nan")


def test_without_a_goal_the_target_is_where_the_arm_is_and_nothing_is_sent():
    bench = Bench()
    bench.tick(3)
    bench.measured = CENTRE.moved([0.2, 0.0, 0.0], [0.0, 0.0, 1.0])
    command = bench.tick()
    assert command.mode is Mode.IDLE
    assert command.reason.cause is Cause.NO_GOAL
    assert not command.send
    np.testing.assert_array_equal(command.target.position, bench.measured.position)
    assert command.goal_id == NO_GOAL


def test_cold_start_waits_and_begins_with_action_0():
    bench = ready(robot=embodiment(timing__chunk_max_age=10.0))
    bench.run(1.0)
    assert bench.last.mode is Mode.HOLDING
    assert bench.last.reason.cause is Cause.WAITING_FOR_CHUNK
    assert bench.last.send
    captured_ns = bench.ros_ns - round(1.2 * SECOND)
    made = chunk(captured_ns, (0.02, 0.0, 0.0), gripper=[1, 1, 1, 1, 0, 0, 0, 0])
    assert bench.controller.take_chunk(made, bench.ros_ns) is None
    first = bench.tick()
    assert (first.mode, first.step, first.chunk_id) == (Mode.EXECUTING, 0, 1)
    bench.tick(39)
    assert (bench.last.step, bench.last.gripper) == (3, 1.0)
    assert bench.tick().step == 4
    assert bench.last.gripper == 0.0
    counters = bench.last.counters
    assert counters.idle_before_first_chunk_s == pytest.approx(1.02)
    assert counters.idle_s == 0.0
    assert counters.chunks_accepted == 1


def test_a_chunk_is_carried_out_to_its_end_and_then_held():
    bench = ready()
    bench.give((0.02, -0.01, 0.01), (0.0, 0.0, 0.05), 0.0)
    bench.run(1.6)
    assert bench.last.mode is Mode.EXECUTING
    held = bench.tick()
    assert held.mode is Mode.HOLDING
    assert held.reason.cause is Cause.CHUNK_EXHAUSTED
    bench.tick(10)
    np.testing.assert_allclose(bench.target.position - CENTRE.position, [0.16, -0.08, 0.08], atol=1e-9)
    np.testing.assert_allclose(CENTRE.motion_to(bench.target)[1], [0, 0, 0.4], atol=1e-9)
    assert bench.last.gripper == 0.0
    assert bench.last.counters.executed_s == pytest.approx(1.6)
    assert bench.last.counters.idle_s == pytest.approx(11 * bench.period_s)
    check_limits(bench)


def test_a_newer_chunk_skips_what_was_executed_since_its_image():
    bench = ready(robot=embodiment(**without_limits()))
    bench.give((0.02, 0.0, 0.0))
    bench.run(0.6)
    captured_ns = bench.ros_ns
    bench.run(0.5)
    made = chunk(captured_ns, [(0, 0.001 * k, 0) for k in range(8)], chunk_id=2)
    assert bench.controller.take_chunk(made, bench.ros_ns) is None
    first = bench.tick()
    assert first.step == 2
    bench.run(1.1 - bench.period_s)
    assert bench.tick().mode is Mode.HOLDING
    expected = [0.11, 0.001 * (0.5 * 2 + 3 + 4 + 5 + 6 + 7), 0.0]
    np.testing.assert_allclose(bench.target.position - CENTRE.position, expected, atol=1e-9)


def test_after_a_hold_only_executed_time_is_skipped():
    bench = ready(robot=embodiment(**without_limits(), timing__chunk_max_age=10.0))
    bench.give((0.01, 0.0, 0.0))
    bench.run(1.2)
    captured_ns = bench.ros_ns
    bench.run(1.0)
    assert bench.last.mode is Mode.HOLDING
    made = chunk(captured_ns, [(0, 0.01 * (k >= 2), 0) for k in range(8)], chunk_id=2)
    bench.controller.take_chunk(made, bench.ros_ns)
    assert bench.tick().step == 2
    bench.run(2.0)
    np.testing.assert_allclose(bench.target.position - CENTRE.position, [0.08, 0.06, 0], atol=1e-9)
    assert bench.last.counters.idle_s > 0.5


def test_slowed_motion_skips_less():
    bench = ready(robot=embodiment(limits__linear_speed=0.1, timing__chunk_max_age=10.0))
    bench.give((0.04, 0.0, 0.0), steps=4)
    assert bench.tick().speed_limited
    captured_ns = bench.ros_ns
    bench.run(1.0)
    made = chunk(captured_ns, (0.0, 0.0, 0.0), chunk_id=2)
    bench.controller.take_chunk(made, bench.ros_ns)
    # Half the speed executed half a second of action time: two steps and a half.
    assert bench.tick().step == 2


def test_the_first_chunk_of_a_goal_starts_from_the_measured_pose():
    bench = ready(follow=0.0)
    bench.measured = CENTRE.moved([0.0, 0.0, -0.02], [0.0, 0.05, 0.0])
    bench.give((0.002, 0.0, 0.0))
    bench.run(2.0)
    np.testing.assert_allclose(bench.target.position - bench.measured.position, [0.016, 0.0, 0.0], atol=1e-9)
    check_limits(bench)


@pytest.mark.parametrize(
    ("made", "cause"),
    [
        (lambda now: chunk(now, (0, 0.1, 0), goal=OTHER_GOAL, chunk_id=2), Cause.CHUNK_WRONG_GOAL),
        (lambda now: chunk(now + SECOND, (0, 0.1, 0), chunk_id=2), Cause.CHUNK_FUTURE),
        (lambda now: chunk(now - 3 * SECOND, (0, 0.1, 0), chunk_id=2), Cause.CHUNK_LATE),
        (lambda now: chunk(now, (0, 0.1, 0), chunk_id=1), Cause.CHUNK_OUT_OF_ORDER),
    ],
)
def test_a_refused_chunk_leaves_the_running_one_alone(made, cause):
    bench = executing()
    refusal = bench.controller.take_chunk(made(bench.ros_ns), bench.ros_ns)
    assert refusal.cause is cause
    command = bench.tick()
    assert command.mode is Mode.EXECUTING
    assert command.reason == refusal
    assert command.counters.chunks_refused == 1
    assert command.linear[1] == 0.0
    bench.run(1.2)
    np.testing.assert_allclose(bench.target.position - CENTRE.position, [0.16, 0, 0], atol=1e-9)


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


def test_a_chunk_that_gets_too_old_is_dropped_on_the_way():
    bench = ready(robot=embodiment(timing__chunk_max_age=1.0))
    bench.give((0.02, 0.0, 0.0))
    bench.until(Mode.HOLDING)
    assert bench.last.reason.cause is Cause.CHUNK_LATE
    assert bench.last.counters.executed_s == pytest.approx(1.0, abs=0.03)


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
    assert "timing.policy_timeout 0.5 s" in bench.last.reason.message
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


def test_a_tick_that_comes_late_does_not_move_further():
    bench = executing()
    moved = bench.target.position[0]
    bench.tick(late_ns=SECOND // 10)
    assert bench.tick().target.position[0] - moved <= 2 * 0.25 * bench.period_s + 1e-9
    check_limits(bench)


def test_a_fault_of_an_adapter_holds_with_its_words():
    bench = executing()
    since = len(bench.commands)
    bench.controller.interrupt(Reason(Cause.ADAPTER, "the driver is gone"))
    assert bench.tick().mode is Mode.HOLDING
    assert bench.last.reason == Reason(Cause.ADAPTER, "the driver is gone")
    check_stands_in_time(bench, since)


def test_a_stuck_arm_makes_the_target_wait_and_the_cause_says_so():
    bench = ready(follow=0.0)
    bench.give((0.04, 0.0, 0.0))
    bench.run(1.5)
    assert bench.last.mode is Mode.EXECUTING
    assert bench.last.reason.cause is Cause.LEASH
    assert bench.last.leash_limited
    assert bench.last.position_error <= bench.robot.limits.leash_distance + 1e-9
    # Motion that is held back is not executed, and waiting for the arm is not idle.
    assert bench.last.counters.executed_s < 0.5
    assert bench.last.counters.idle_s == 0.0
    check_limits(bench)


def test_the_wall_is_reported():
    bench = ready()
    bench.give((0.0, 0.0, 0.04))
    bench.run(1.6)
    assert bench.last.workspace_limited
    assert bench.last.reason.cause is Cause.WORKSPACE
    bench.run(0.5)
    assert bench.target.position[2] == pytest.approx(0.5, abs=1e-9)
    check_limits(bench)


def test_the_gripper_is_kept_to_its_range_and_through_holds():
    bench = ready()
    assert bench.last.gripper is None
    bench.give((0.0, 0.0, 0.0), gripper=[1.7, -0.3], steps=2)
    bench.tick()
    assert bench.last.gripper == 1.0
    bench.run(1.0)
    assert bench.last.gripper == 0.0
    bench.end()
    bench.run(1.0)
    assert bench.last.gripper == 0.0


def test_deltas_are_the_twist_over_the_period():
    bench = executing()
    command = bench.last
    np.testing.assert_allclose(command.translation, command.linear * 0.02)
    np.testing.assert_allclose(command.rotation, command.angular * 0.02)
    assert command.duration_s == 0.02
