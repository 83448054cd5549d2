"""What the controller does with goals, chunks and limits, tick by tick."""

from __future__ import annotations

import math

import numpy as np
import pytest
from control_bench import (
    CENTRE,
    OTHER_GOAL,
    SECOND,
    Bench,
    check_limits,
    chunk,
    embodiment,
    executing,
    ready,
    without_limits,
)

from dream_vla_ros.chunk import Blending
from dream_vla_ros.control import NO_GOAL, Cause, ControlSettings, Mode, Reason


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
    # The new state is commanded after it was asked for during gripper.dwell: three ticks.
    assert (bench.last.gripper, bench.last.gripper_held_back) == (1.0, True)
    assert bench.tick(2).gripper == 0.0
    assert bench.last.gripper_changed
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


@pytest.mark.parametrize(
    ("catch_up_s", "expected"),
    [
        # On from where the old chunk led, or to where the new one leads from where the arm was at its image.
        (0.0, [0.11, 0.001 * (0.5 * 2 + 3 + 4 + 5 + 6 + 7), 0.0]),
        (0.2, [0.06, 0.001 * sum(range(8)), 0.0]),
    ],
)
def test_a_newer_chunk_skips_what_was_executed_since_its_image(catch_up_s, expected):
    settings = ControlSettings(fade_time=0.0, catch_up_time=catch_up_s)
    bench = ready(robot=embodiment(**without_limits()), settings=settings)
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
    np.testing.assert_allclose(bench.target.position - CENTRE.position, [0.06, 0.06, 0], atol=1e-9)
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


def test_a_chunk_that_gets_too_old_is_dropped_on_the_way():
    bench = ready(robot=embodiment(timing__chunk_max_age=1.0))
    bench.give((0.02, 0.0, 0.0))
    bench.until(Mode.HOLDING)
    assert bench.last.reason.cause is Cause.CHUNK_LATE
    assert bench.last.counters.executed_s == pytest.approx(1.0, abs=0.03)


def test_a_tick_that_comes_late_does_not_move_further():
    bench = executing()
    moved = bench.target.position[0]
    bench.tick(late_ns=SECOND // 10)
    assert bench.tick().target.position[0] - moved <= 2 * 0.25 * bench.period_s + 1e-9
    check_limits(bench)


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


def test_the_cone_is_reported():
    robot = embodiment(limits__tool_axis=[0.0, 0.0, 1.0], limits__cone_angle=0.3)
    bench = ready(robot=robot)
    bench.give((0.0, 0.0, 0.0), (0.15, 0.0, 0.0))
    bench.run(1.6)
    assert bench.last.orientation_limited
    assert bench.last.reason.cause is Cause.ORIENTATION
    bench.run(0.5)
    assert CENTRE.motion_to(bench.target)[1][0] == pytest.approx(0.3, abs=1e-6)
    check_limits(bench)


def test_the_gripper_is_told_edges():
    bench = ready(robot=embodiment(gripper__dwell=0.0))
    bench.give((0.0, 0.0, 0.0), gripper=[1, 0.5, 0, 0.5, 1], steps=5)
    bench.run(1.2)
    edges = [
        (round((c.stamp_ns - bench.commands[2].stamp_ns) * 1e-9, 2), c.gripper)
        for c in bench.commands
        if c.gripper_changed
    ]
    assert edges == [(0.0, 1.0), (0.4, 0.0), (0.8, 1.0)]


def test_overlapping_chunks_are_averaged_where_that_is_asked_for():
    settings = ControlSettings(blending=Blending.TEMPORAL_ENSEMBLE, ensemble_decay=0.0, fade_time=0.0)
    bench = ready(robot=embodiment(**without_limits()), settings=settings)
    bench.give((0.02, 0.0, 0.0), gripper=1.0)
    bench.run(0.4)
    bench.give((0.0, 0.02, 0.0), gripper=0.0, chunk_id=2)
    bench.run(1.2)
    np.testing.assert_allclose(bench.target.position - CENTRE.position, [0.04 + 0.06, 0.06, 0.0], atol=1e-9)
    # The older chunk has ended; the rest is the newer one's alone, and so was the gripper all the time.
    bench.run(0.4)
    np.testing.assert_allclose(bench.target.position - CENTRE.position, [0.10, 0.10, 0.0], atol=1e-9)
    assert bench.last.gripper == 0.0


def test_chunks_from_before_an_interruption_are_not_averaged_with_later_ones():
    settings = ControlSettings(blending=Blending.TEMPORAL_ENSEMBLE, ensemble_decay=0.0, fade_time=0.0)
    bench = ready(robot=embodiment(**without_limits()), settings=settings)
    bench.give((0.02, 0.0, 0.0))
    bench.run(0.4)
    bench.controller.interrupt(Reason(Cause.ADAPTER, "gone"))
    bench.run(0.2)
    rest = bench.target.position
    bench.give((0.0, 0.02, 0.0), chunk_id=2)
    bench.run(0.4)
    np.testing.assert_allclose(bench.target.position - rest, [0.0, 0.04, 0.0], atol=1e-9)
