"""Properties that hold whatever the policy, the network, the clock and the arm do."""

from __future__ import annotations

import numpy as np
from control_bench import (
    CENTRE,
    GOAL,
    OTHER_GOAL,
    SECOND,
    TOLERANCE,
    Bench,
    check_limits,
    chunk,
    embodiment,
    without_limits,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dream_vla_ros.control import Cause, Mode, Reason
from dream_vla_ros.geometry import (
    Pose,
    angle_between,
    quaternion_from_rotation_vector,
    quaternion_multiply,
)

# Explaining a failure runs it under a tracer, which takes minutes for hundreds of ticks.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
GRIPPERS = (0.0, 0.25, 1.0)
GOALS = (GOAL, OTHER_GOAL, bytes([3]) * 16, bytes([4]) * 16)

STEP = st.floats(-0.1, 0.1)
TURN = st.floats(-0.6, 0.6)


def vectors(draw: st.DrawFn, element: st.SearchStrategy[float], count: int) -> list[tuple[float, ...]]:
    return draw(st.lists(st.tuples(element, element, element), min_size=count, max_size=count))


@st.composite
def chunk_events(draw: st.DrawFn) -> tuple:
    steps = draw(st.integers(1, 6))
    return (
        "chunk",
        {
            "translation": vectors(draw, STEP, steps),
            "rotation": vectors(draw, TURN, steps),
            "gripper": draw(st.lists(st.sampled_from(GRIPPERS), min_size=steps, max_size=steps)),
            "steps": steps,
            "period_s": draw(st.sampled_from([0.03, 0.1, 0.2])),
        },
        draw(st.floats(-0.2, 1.5)),
        draw(st.sampled_from([0, 0, 0, 1])),
    )


POSITION = st.tuples(st.floats(0.1, 0.6), st.floats(-0.4, 0.4), st.floats(0.02, 0.5))
EVENTS = st.one_of(
    chunk_events(),
    chunk_events(),
    chunk_events(),
    st.tuples(st.just("goal"), st.sampled_from(GOALS)),
    st.tuples(st.just("push"), POSITION, st.tuples(TURN, TURN, TURN)),
    st.tuples(st.just("clock"), st.floats(-3.0, 3.0)),
    st.sampled_from(
        [("end",), ("stop",), ("resume",), ("unreadable",), ("adapter",), ("blind",), ("see",), ("mute",)]
    ),
)
STORY = st.lists(st.tuples(EVENTS, st.integers(1, 25)), min_size=1, max_size=14)


def _robot(rate, speed, ramp_s, turn, leash, smoothing, cone_angle):
    """A robot whose speed, acceleration and jerk limits let it stop within 0.2 s, however they share that."""
    period_s = 1.0 / rate
    ticks = 1 + int(smoothing * (0.2 - period_s - ramp_s) / period_s)
    return embodiment(
        timing__control_rate=rate,
        limits__linear_speed=speed,
        limits__linear_acceleration=speed / ramp_s,
        limits__linear_jerk=2.0 * speed / ramp_s / (ticks * period_s),
        limits__angular_speed=turn,
        limits__angular_acceleration=turn / ramp_s,
        limits__angular_jerk=2.0 * turn / ramp_s / (ticks * period_s),
        limits__leash_distance=leash,
        limits__tool_axis=[0.0, 0.0, 1.0],
        limits__cone_angle=cone_angle,
    )


ROBOTS = st.builds(
    _robot,
    st.sampled_from([20.0, 50.0, 125.0]),
    st.floats(0.05, 0.5),
    st.floats(0.03, 0.15),
    st.floats(0.2, 2.0),
    st.floats(0.01, 0.2),
    st.floats(0.0, 1.0),
    st.floats(0.1, 3.2).map(lambda angle: min(angle, np.pi)),
)


def play(bench: Bench, story: list) -> None:
    chunk_id = 0
    for event, ticks in story:
        kind = event[0]
        if kind == "chunk":
            _, contents, age_s, which = event
            chunk_id += 1
            goal = bench.goal if which == 0 and bench.goal else OTHER_GOAL
            stamp_ns = bench.ros_ns - round(age_s * SECOND)
            bench.controller.take_chunk(
                chunk(stamp_ns, goal=goal, chunk_id=chunk_id, **contents), bench.ros_ns
            )
        elif kind == "goal":
            bench.heartbeats = True
            bench.begin(event[1])
        elif kind == "push":
            bench.measured = Pose(
                np.array(event[1]),
                quaternion_multiply(quaternion_from_rotation_vector(event[2]), CENTRE.quaternion),
            )
        elif kind == "clock":
            bench.set_clock(event[1])
        elif kind == "end":
            bench.end()
        elif kind == "stop":
            bench.controller.stop("test")
        elif kind == "resume":
            bench.controller.resume()
        elif kind == "unreadable":
            bench.controller.refuse_chunk(bench.goal or GOAL, "nan")
        elif kind == "adapter":
            bench.controller.interrupt(Reason(Cause.ADAPTER, "test"))
        elif kind in ("blind", "see"):
            bench.measuring = kind == "see"
        else:
            bench.heartbeats = False
        bench.tick(ticks)


def check_modes(bench: Bench) -> None:
    """Assert that what is not executing stands within the stop time, unless it gives way to a pushed arm."""
    moving_s = 0.0
    for command in bench.commands:
        moving = bool(command.linear.any() or command.angular.any())
        if command.mode is Mode.EXECUTING or not moving or command.leash_limited:
            moving_s = 0.0
        else:
            moving_s += command.duration_s
        # The last step of a pull by the leash is not marked any more, but has a ramp of its own.
        assert moving_s <= bench.settings.stop_time + TOLERANCE
        if command.mode in (Mode.EXECUTING, Mode.HOLDING):
            assert command.goal_id != bytes(16)
            assert command.send
        if command.mode is Mode.IDLE:
            assert command.goal_id == bytes(16)
        assert command.gripper is None or command.gripper in GRIPPERS
        if command.mode is not Mode.EXECUTING:
            assert command.chunk_id == 0
        if command.mode not in (Mode.EXECUTING, Mode.IDLE):
            assert command.reason.cause is not Cause.NONE
            assert command.reason.message
        assert moving <= command.send


@settings(max_examples=120, deadline=None, phases=PHASES)
@given(ROBOTS, st.floats(0.02, 1.0), STORY)
def test_whatever_happens_every_command_is_within_the_limits(robot, follow: float, story):
    bench = Bench(robot=robot, follow=follow)
    bench.tick()
    bench.begin()
    play(bench, story)
    check_limits(bench)
    check_modes(bench)


OUTSIDE = st.tuples(st.floats(-0.2, 1.0), st.floats(-0.8, 0.8), st.floats(-0.2, 0.9))


@settings(max_examples=40, deadline=None, phases=PHASES)
@given(OUTSIDE, STORY)
def test_an_arm_that_starts_outside_its_workspace_only_comes_in(position, story):
    bench = Bench(start=Pose(np.array(position), CENTRE.quaternion))
    bench.tick()
    bench.begin()
    play(bench, [entry for entry in story if entry[0][0] != "push"])
    check_limits(bench, inside=False)


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(st.data(), st.sampled_from([30.0, 50.0, 100.0]))
def test_an_undisturbed_chunk_moves_the_arm_by_exactly_its_sum(data, rate: float):
    steps = data.draw(st.integers(1, 8))
    translation = vectors(data.draw, st.floats(-0.02, 0.02), steps)
    rotation = vectors(data.draw, st.floats(-0.1, 0.1), steps)
    bench = Bench(robot=embodiment(**without_limits(), timing__control_rate=rate, timing__chunk_max_age=10.0))
    bench.tick()
    bench.begin()
    period_s = data.draw(st.sampled_from([0.05, 0.1, 0.2, 1 / 3]))
    assert bench.give(translation, rotation, steps=steps, period_s=period_s) is None
    bench.run(steps * period_s + 0.3)

    assert not bench.last.linear.any()
    expected = CENTRE.position + np.sum(translation, axis=0)
    np.testing.assert_allclose(bench.target.position, expected, atol=1e-8)
    quaternion = CENTRE.quaternion
    for vector in rotation:
        quaternion = quaternion_multiply(quaternion_from_rotation_vector(vector), quaternion)
    # Rotations about different axes are averaged over fade_time at the end of each step.
    turned = np.array(rotation)
    turns = np.linalg.norm(np.cross(turned[:-1], turned[1:]), axis=1)
    order = turns.sum() / 24.0 * min(1.0, bench.settings.fade_time / period_s) ** 2
    assert angle_between(bench.target.quaternion, quaternion) < 1e-7 + 1.2 * order
    np.testing.assert_allclose(
        sum(c.translation for c in bench.commands), expected - CENTRE.position, atol=1e-8
    )
    check_limits(bench)


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(st.data())
def test_a_chunk_that_ends_slowly_moves_the_arm_by_its_sum_within_ordinary_limits(data):
    # Slow enough that the speed limits do not act; the acceleration limits always do.
    steps = data.draw(st.integers(1, 6))
    translation = [*vectors(data.draw, st.floats(-0.01, 0.01), steps), (0, 0, 0), (0, 0, 0)]
    bench = Bench()
    bench.tick()
    bench.begin()
    bench.give(translation, steps=steps + 2, period_s=0.2)
    bench.run(0.2 * (steps + 2) + 0.3)
    np.testing.assert_allclose(
        bench.target.position - CENTRE.position, np.sum(translation, axis=0), atol=1e-8
    )


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(
    data=st.data(),
    length=st.integers(4, 40),
    gaps=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 50)), min_size=1, max_size=10),
)
def test_skipping_is_exact_whatever_latency_and_pause(data, length: int, gaps):
    """A policy that knows a long path sends the part due at each image: none may be lost or repeated."""
    bench = Bench(robot=embodiment(**without_limits(), timing__chunk_max_age=30.0))
    period_s = bench.period_s
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    path = rng.uniform(-0.002, 0.002, size=(4000, 3))
    bench.tick()
    bench.begin()
    executed = [bench.controller.counters.executed_s]
    for number, (latency, pause) in enumerate(gaps):
        captured_ns = bench.ros_ns
        first = round(bench.controller.counters.executed_s / period_s)
        bench.tick(latency)
        made = chunk(
            captured_ns, path[first : first + length], steps=length, period_s=period_s, chunk_id=number + 1
        )
        refusal = bench.controller.take_chunk(made, bench.ros_ns)
        if refusal is not None:
            assert refusal.cause is Cause.CHUNK_LATE
            assert round(bench.controller.counters.executed_s / period_s) - first >= length
        bench.tick(pause)
        executed.append(bench.controller.counters.executed_s)
    bench.tick(length + 5)
    count = round(bench.last.counters.executed_s / period_s)
    np.testing.assert_allclose(bench.target.position - CENTRE.position, path[:count].sum(axis=0), atol=1e-8)
    assert count >= length


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(
    steps=st.integers(2, 10),
    period_s=st.sampled_from([1 / 15, 0.1, 0.2]),
    share=st.floats(0.02, 0.5),
    jitter=st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8),
    speed=st.floats(0.0, 0.05),
)
def test_no_tick_is_idle_while_latency_is_at_most_half_a_chunk(steps, period_s, share, jitter, speed):
    bench = Bench(robot=embodiment(timing__chunk_max_age=10.0))
    bench.tick()
    bench.begin()
    latency_ns = share * steps * period_s * SECOND
    captured_ns = bench.ros_ns
    for number, shorter in enumerate(jitter):
        # Up to the latency, never more; the next image is captured when the chunk has gone out.
        arrival_ns = captured_ns + round(latency_ns * (1.0 - 0.5 * shorter))
        while bench.ros_ns < arrival_ns:
            bench.tick()
        made = chunk(
            captured_ns, (speed * period_s, 0, 0), steps=steps, period_s=period_s, chunk_id=number + 1
        )
        assert bench.controller.take_chunk(made, bench.ros_ns) is None
        captured_ns = arrival_ns
    counters = bench.controller.counters
    assert counters.idle_s == 0.0
    assert counters.chunks_accepted == len(jitter)
    assert all(c.mode is Mode.EXECUTING for c in bench.commands if c.counters.executed_s > 0.0)


def test_beyond_half_a_chunk_the_idle_time_is_counted():
    bench = Bench(robot=embodiment(timing__chunk_max_age=10.0))
    bench.tick()
    bench.begin()
    for number in range(4):
        captured_ns = bench.ros_ns
        bench.run(1.2)
        bench.controller.take_chunk(chunk(captured_ns, (0.01, 0, 0), chunk_id=number + 1), bench.ros_ns)
    assert bench.controller.counters.idle_s > 0.5
    check_limits(bench)


@settings(max_examples=40, deadline=None, phases=PHASES)
@given(st.integers(1, 60), st.sampled_from(["goal", "end", "stop", "mute"]), st.data())
def test_nothing_of_a_chunk_outlives_its_goal(ticks: int, how: str, data):
    # Without jerk limits, so that the way of a straight ramp to rest is known.
    bench = Bench(robot=embodiment(limits__linear_jerk=1e9, limits__angular_jerk=1e9))
    bench.tick()
    bench.begin()
    steps = data.draw(st.integers(4, 8))
    bench.give(vectors(data.draw, STEP, steps), vectors(data.draw, TURN, steps), steps=steps)
    bench.tick(ticks)
    if how == "mute":
        bench.heartbeats = False
        while bench.tick().reason.cause is not Cause.POLICY_LOST:
            assert len(bench.commands) < 200
    elif how == "goal":
        bench.begin(OTHER_GOAL)
    elif how == "end":
        bench.end()
    else:
        bench.controller.stop("test")
    before = bench.target
    limits, last = bench.robot.limits, bench.last
    speed = np.linalg.norm(last.linear)
    braking_s = max(
        speed / limits.linear_acceleration, np.linalg.norm(last.angular) / limits.angular_acceleration
    )
    bench.tick(round(bench.settings.stop_time / bench.period_s))
    assert not bench.last.linear.any()
    assert not bench.last.angular.any()
    assert np.linalg.norm(bench.target.position - before.position) <= speed * braking_s / 2.0 + TOLERANCE
    rest = bench.target
    bench.tick(50)
    np.testing.assert_allclose(bench.target.position, rest.position, atol=1e-12)
    check_limits(bench)
