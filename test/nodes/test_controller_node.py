"""The controller as a process of its own, over real DDS."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from controller_rig import CENTRE, CONFIG, MODULE, SECOND, Rig, is_at_rest, motion_of
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from ros_graph import LATCHED, RELIABLE, Graph
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from dream_vla_msgs.msg import ControllerState, EndEffectorDelta
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.conversions import (
    duration_from_msg,
    pose_stamped,
    time_from_msg,
    uuid_from_msg,
)

pytestmark = pytest.mark.ros

LIMITS = Embodiment.from_file(CONFIG).limits
PERIOD_S = 0.02
STOP_S = 0.2
TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def module_rig(module_graph: Graph) -> Iterator[Rig]:
    # Without fading, so that where a chunk takes over shows in what is commanded.
    made = Rig(module_graph, parameters={"fade_time": 0.0})
    yield made
    made.close()


@pytest.fixture
def rig(module_rig: Rig) -> Rig:
    module_rig.reset()
    return module_rig


def check_deltas(deltas: list[EndEffectorDelta]) -> None:
    """Assert that commands keep the limits and change no faster than allowed."""
    before = None
    for delta in deltas:
        speed = motion_of(delta) / PERIOD_S
        assert np.linalg.norm(speed) <= LIMITS.linear_speed + TOLERANCE
        if before is not None:
            assert np.linalg.norm(speed - before) <= LIMITS.linear_acceleration * PERIOD_S + TOLERANCE
        before = speed


def move(rig: Rig, **keywords: object) -> int:
    """Begin a goal, send a long chunk along x and wait until the arm moves; return when it was sent."""
    rig.begin()
    start_ns = rig.graph.now_ns()
    rig.give((0.02, 0.0, 0.0), steps=8, period_s=0.2, **keywords)
    rig.graph.wait(lambda: any(motion_of(d)[0] > 0.0 for d in rig.deltas_since(start_ns)), what="motion")
    return start_ns


def check_stands_after(rig: Rig, state: ControllerState) -> None:
    """Assert that the arm stood within the stop time of a state, and wait until then."""
    rig.wait_rest()
    detected_ns = time_from_msg(state.header.stamp)
    deltas = rig.deltas_since(detected_ns)
    # In ticks: those of a busy machine come late.
    moving = [tick for tick, delta in enumerate(deltas) if motion_of(delta).any()]
    assert not moving or moving[-1] < round(STOP_S / PERIOD_S)
    check_deltas(deltas)


def test_a_chunk_becomes_deltas_targets_and_gripper_commands(rig: Rig):
    rig.begin()
    waiting = rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_WAITING_FOR_CHUNK)
    assert waiting.chunks_accepted == 0
    start_ns = rig.graph.now_ns()
    rig.give((0.01, -0.005, 0.002), (0.0, 0.0, 0.02), [1.0, 0.0, 0.0])
    done = rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_EXHAUSTED)
    rig.wait_rest()

    expected = np.array([0.03, -0.015, 0.006])
    rig.graph.wait(lambda: np.allclose(rig.motion_since(start_ns), expected, atol=1e-7), what="the motion")
    deltas = rig.deltas_since(start_ns)
    check_deltas(deltas)
    assert {d.header.frame_id for d in deltas} == {"base_link"}
    assert {d.ee_frame for d in deltas} == {"ee_link"}
    assert {duration_from_msg(d.duration) for d in deltas} == {PERIOD_S}
    assert sum(d.rotation.z for d in deltas) == pytest.approx(0.06, abs=1e-7)
    target = rig.graph.wait(lambda: rig.targets.last).pose
    np.testing.assert_allclose(
        [target.position.x, target.position.y, target.position.z], CENTRE.position + expected, atol=1e-7
    )
    assert {g.data[0] for g in rig.grippers.messages} == {1.0, 0.0}
    assert rig.grippers.last.data[0] == deltas[-1].gripper == 0.0
    assert done.executed_time == pytest.approx(0.3)
    assert (done.chunks_accepted, done.chunks_refused) == (1, 0)


def test_a_cold_start_begins_with_action_0_however_old_the_image(rig: Rig):
    rig.begin()
    start_ns = rig.graph.now_ns()
    rig.give((0.01, 0.0, 0.0), age_s=1.0)
    first = rig.wait_mode(ControllerState.EXECUTING)
    assert (first.chunk_id, first.step) == (1, 0)
    done = rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_EXHAUSTED)
    rig.wait_rest()
    assert done.executed_time == pytest.approx(0.3)
    assert rig.motion_since(start_ns)[0] == pytest.approx(0.03, abs=1e-7)
    assert done.idle_time_before_first_chunk > 0.0
    # Only the tick that found nothing left.
    assert done.idle_time == pytest.approx(PERIOD_S)


def test_a_newer_chunk_starts_where_the_executed_time_has_come(rig: Rig):
    rig.begin()
    start_ns = rig.graph.now_ns()
    rig.give((0.005, 0.0, 0.0), steps=10, period_s=0.1)
    captured = rig.states.wait(lambda s: s.mode == ControllerState.EXECUTING and s.executed_time > 0.2)
    later = rig.states.wait(lambda s: s.executed_time > captured.executed_time + 0.25)
    assert later.mode == ControllerState.EXECUTING
    # Each step along y says which one it is.
    steps = [(0.0, 0.001 * (k + 1), 0.0) for k in range(10)]
    rig.give(steps, steps=10, period_s=0.1, stamp_ns=time_from_msg(captured.header.stamp))
    rig.states.wait(lambda s: s.chunk_id == 2)
    done = rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_EXHAUSTED)
    rig.wait_rest()

    # The state was written after its tick had taken its share, the stamp is of the tick's beginning.
    begun_s = captured.executed_time - PERIOD_S
    along_x, along_y = rig.motion_since(start_ns)[:2]
    switched_s = along_x / 0.005 * 0.1
    skipped_s = switched_s - begun_s
    assert done.executed_time == pytest.approx(begun_s + 1.0, abs=1e-6)
    whole, part = divmod(skipped_s / 0.1, 1.0)
    expected = 0.001 * ((1.0 - part) * (whole + 1) + sum(range(int(whole) + 2, 11)))
    assert along_y == pytest.approx(expected, abs=1e-6)
    assert done.idle_time == pytest.approx(PERIOD_S)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ({"goal_id": bytes([9]) * 16}, ControllerState.CAUSE_CHUNK_WRONG_GOAL),
        ({"age_s": -1.0}, ControllerState.CAUSE_CHUNK_FUTURE),
        ({"age_s": 3.0}, ControllerState.CAUSE_CHUNK_LATE),
        ({"chunk_id": 1}, ControllerState.CAUSE_CHUNK_OUT_OF_ORDER),
    ],
    ids=["wrong goal", "future", "late", "out of order"],
)
def test_a_refused_chunk_moves_nothing(rig: Rig, fault: dict, cause: int):
    rig.begin()
    start_ns = rig.graph.now_ns()
    rig.give((0.0, 0.0, 0.0), steps=1, chunk_id=1)
    rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_EXHAUSTED)
    rig.give((0.0, 0.02, 0.0), **({"chunk_id": 2} | fault))
    refused = rig.states.wait(lambda s: s.chunks_refused == 1)
    assert refused.cause == cause
    # The sentinel goes the same way after the refused one; when it has come through, so would the other.
    rig.give((0.01, 0.0, 0.0), chunk_id=3)
    rig.states.wait(lambda s: s.chunks_accepted == 2)
    rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_EXHAUSTED)
    rig.wait_rest()
    np.testing.assert_allclose(rig.motion_since(start_ns), [0.03, 0.0, 0.0], atol=1e-7)


def test_a_chunk_that_is_not_finite_stops_the_arm_until_a_newer_one(rig: Rig):
    move(rig)
    msg = rig.chunk((0.02, 0.0, 0.0))
    msg.steps[2].rotation.y = math.nan
    rig.chunks.publish(msg)
    state = rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_INVALID)
    assert "chunk 2: rotation of step 2 is not finite" in state.message
    check_stands_after(rig, state)
    rig.give((0.01, 0.0, 0.0))
    rig.wait_mode(ControllerState.EXECUTING)


def test_a_chunk_in_another_frame_is_invalid(rig: Rig):
    rig.begin()
    rig.give((0.01, 0.0, 0.0), frame_id="camera_link")
    state = rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_INVALID)
    assert "frame 'camera_link', not in 'base_link'" in state.message


def test_a_lost_policy_holds_and_only_a_new_goal_moves(rig: Rig):
    move(rig)
    lost_goal = rig.goal_id
    rig.heartbeats = False
    state = rig.wait_mode(ControllerState.IDLE, ControllerState.CAUSE_POLICY_LOST)
    assert "timing.policy_timeout" in state.message
    check_stands_after(rig, state)

    rest_ns = rig.graph.now_ns()
    rig.beat(lost_goal)
    rig.give((0.02, 0.0, 0.0))
    rig.states.wait(lambda s: s.chunks_refused > state.chunks_refused)
    rig.heartbeats = True
    rig.begin()
    rig.give((0.0, 0.01, 0.0))
    rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_EXHAUSTED)
    rig.wait_rest()
    np.testing.assert_allclose(rig.motion_since(rest_ns), [0.0, 0.03, 0.0], atol=1e-7)


def test_a_cancelled_goal_ramps_to_rest(rig: Rig):
    move(rig)
    rig.end()
    state = rig.wait_mode(ControllerState.IDLE, ControllerState.CAUSE_NO_GOAL)
    assert uuid_from_msg(state.goal_id) == bytes(16)
    check_stands_after(rig, state)


def test_a_preempting_goal_flushes_what_is_in_flight(rig: Rig):
    move(rig)
    old = rig.goal_id
    rig.begin()
    state = rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_WAITING_FOR_CHUNK)
    check_stands_after(rig, state)
    rest_ns = rig.graph.now_ns()
    rig.give((0.02, 0.0, 0.0), goal_id=old, chunk_id=9)
    rig.states.wait(lambda s: s.chunks_refused == 1)
    rig.give((0.0, 0.01, 0.0), chunk_id=1)
    rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_EXHAUSTED)
    rig.wait_rest()
    np.testing.assert_allclose(rig.motion_since(rest_ns), [0.0, 0.03, 0.0], atol=1e-6)


def test_the_emergency_stop_is_latched_until_resume_and_a_new_goal(rig: Rig):
    move(rig)
    stopped_goal = rig.goal_id
    response = rig.graph.call(Trigger, "controller/stop")
    assert response.success
    state = rig.wait_mode(ControllerState.STOPPED, ControllerState.CAUSE_EMERGENCY_STOP)
    check_stands_after(rig, state)
    late_listener = rig.graph.record(Bool, "emergency_stop", LATCHED)
    late_listener.wait(lambda msg: msg.data, start=0)

    rest_ns = rig.graph.now_ns()
    rig.give((0.02, 0.0, 0.0))
    rig.states.wait(lambda s: s.chunks_refused > state.chunks_refused)
    assert rig.graph.call(Trigger, "controller/resume").success
    late_listener.wait(lambda msg: not msg.data, start=0)
    assert not rig.graph.call(Trigger, "controller/resume").success
    idle = rig.wait_mode(ControllerState.IDLE, ControllerState.CAUSE_NO_GOAL)
    assert "resumed" in idle.message
    rig.give((0.02, 0.0, 0.0), goal_id=stopped_goal)
    rig.states.wait(lambda s: s.chunks_refused > state.chunks_refused + 1)
    rig.begin()
    rig.give((0.0, 0.01, 0.0))
    rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_EXHAUSTED)
    rig.wait_rest()
    np.testing.assert_allclose(rig.motion_since(rest_ns), [0.0, 0.03, 0.0], atol=1e-6)


@pytest.mark.parametrize("qos", [RELIABLE, LATCHED], ids=["volatile", "latched"])
def test_a_stop_from_elsewhere_is_heard_and_not_lifted_by_a_false(rig: Rig, qos):
    move(rig)
    button = rig.graph.publisher(Bool, "emergency_stop", qos)
    # The controller hears it with one subscription that wants it latched and one that does not.
    rig.graph.wait_matched(button, count=2 if qos is LATCHED else 1)
    button.publish(Bool(data=True))
    state = rig.wait_mode(ControllerState.STOPPED)
    assert f"{rig.graph.namespace}/emergency_stop" in state.message
    check_stands_after(rig, state)
    answers = rig.graph.record(Bool, "emergency_stop")
    button.publish(Bool(data=False))
    answers.wait(lambda msg: msg.data, start=0, what="the controller to insist")
    assert rig.states.wait().mode == ControllerState.STOPPED
    assert rig.graph.call(Trigger, "controller/resume").success
    rig.wait_mode(ControllerState.IDLE)
    rig.graph.node.destroy_publisher(button)


def test_a_stale_state_holds_and_nothing_more_is_published(rig: Rig):
    move(rig)
    rig.measuring = False
    state = rig.wait_mode(ControllerState.NO_STATE, ControllerState.CAUSE_STATE_STALE)
    assert "timing.state_max_age" in state.message
    assert state.measured_age > 0.25
    check_stands_after(rig, state)
    # It lingers half a second; a second after the stop, states still come and commands do not.
    silent_ns = time_from_msg(state.header.stamp) + SECOND
    rig.states.wait(lambda s: time_from_msg(s.header.stamp) > silent_ns + SECOND // 5)
    assert rig.deltas_since(silent_ns) == []
    assert time_from_msg(rig.targets.last.header.stamp) < silent_ns

    seen = len(rig.deltas)
    rig.measuring = True
    rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_STATE_STALE)
    first = rig.deltas.wait(start=seen)
    assert not motion_of(first).any()
    rig.give((0.01, 0.0, 0.0))
    rig.wait_mode(ControllerState.EXECUTING)


def test_a_measured_pose_that_is_not_finite_is_no_state(rig: Rig):
    move(rig)
    rig.measuring = False
    bad = pose_stamped(CENTRE, rig.graph.now_ns(), "base_link")
    bad.pose.position.z = math.nan
    rig.poses.publish(bad)
    state = rig.wait_mode(ControllerState.NO_STATE, ControllerState.CAUSE_STATE_INVALID)
    assert f"{rig.graph.namespace}/ee_pose: not a position" in state.message
    check_stands_after(rig, state)


def test_a_second_arm_on_the_pose_topic_is_reported_and_breaks_no_limit(rig: Rig):
    start_ns = move(rig)
    health = rig.graph.record(DiagnosticArray, "/diagnostics")
    other = rig.graph.publisher(PoseStamped, "ee_pose")
    rig.graph.wait_matched(other)
    elsewhere = Pose(CENTRE.position + np.array([0.0, 0.15, 0.0]), CENTRE.quaternion)

    def warned() -> bool:
        other.publish(pose_stamped(elsewhere, rig.graph.now_ns(), "base_link"))
        return any(
            status.name == "controller: publishers" and other.topic_name in status.message
            for array in health.messages
            for status in array.status
        )

    rig.graph.wait(warned, what="a warning of the second publisher")
    rig.graph.node.destroy_publisher(other)
    rig.end()
    rig.wait_rest()
    check_deltas(rig.deltas_since(start_ns))


def test_commands_and_diagnostics_come_at_their_rates(rig: Rig):
    health = rig.graph.record(DiagnosticArray, "/diagnostics")
    index = len(rig.deltas)
    rig.graph.wait(lambda: len(rig.deltas) >= index + 75, what="75 commands")
    stamps = [time_from_msg(msg.header.stamp) for msg in rig.deltas.messages[index : index + 75]]
    rate = (len(stamps) - 1) / ((stamps[-1] - stamps[0]) * 1e-9)
    assert rate == pytest.approx(50.0, rel=0.05)
    states = [time_from_msg(msg.header.stamp) for msg in rig.states.messages[-10:]]
    assert max(np.diff(states)) * 1e-9 < 0.2
    array = health.wait(lambda msg: any(s.name == "controller: motion" for s in msg.status), start=0)
    timing = next(s for s in array.status if s.name == "controller: timing")
    assert float({v.key: v.value for v in timing.values}["rate [Hz]"]) == pytest.approx(50.0, rel=0.05)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ramps_to_rest_before_the_process_ends(graph: Graph, how: signal.Signals):
    rig = Rig(graph)
    start_ns = move(rig)
    rig.deltas.wait(lambda d: motion_of(d)[0] == pytest.approx(0.002))
    assert rig.process.stop(how) == 0
    last = rig.states.wait(is_at_rest, start=0, what="rest before the end")
    assert last is not None
    rig.graph.wait(lambda: not motion_of(rig.deltas.last).any(), what="a last delta at rest")
    check_deltas(rig.deltas_since(start_ns))
    rig.close()


def test_parameters_that_cannot_be_used_end_it_with_their_name(graph: Graph, tmp_path: Path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("/**:\n  ros__parameters:\n    robot: [unclosed\n")
    cases = {
        "parameter 'robot' is missing": {},
        "broken.yaml": {"parameter_files": [broken]},
        "missing.yaml": {"parameter_files": [tmp_path / "missing.yaml"]},
        "limits.linear_speed": {"parameter_files": [CONFIG], "parameters": {"limits.linear_speed": -1.0}},
        "state.source": {"parameter_files": [CONFIG], "parameters": {"state.source": "guess"}},
        "stop_time 0.2 s": {"parameter_files": [CONFIG], "parameters": {"limits.linear_acceleration": 0.5}},
        "state_rate": {"parameter_files": [CONFIG], "parameters": {"state_rate": "often"}},
        "tf2_ros": {"parameter_files": [CONFIG], "parameters": {"state.source": "tf"}},
    }
    try:
        import tf2_ros  # noqa: F401

        del cases["tf2_ros"]
    except ImportError:
        pass
    processes = {words: graph.start(MODULE, **start) for words, start in cases.items()}
    for words, process in processes.items():
        # Eight of them start at once.
        assert process.wait(90.0) == 2, process.describe()
        assert words in process.log()
        assert "Traceback" not in process.log()
