"""A joystick drives the controller's process over real DDS, alone and in the middle of a policy's goal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from controller_rig import CONFIG, SECOND, Rig, motion_of
from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import Graph, Recorder
from sensor_msgs.msg import Joy
from std_srvs.srv import Trigger

from dream_vla_msgs.msg import ActionChunk, ActiveGoal, ControllerState
from dream_vla_ros.nodes.conversions import time_from_msg, uuid_from_msg, vector_from_msg
from dream_vla_ros.teleop.operator import READY

pytestmark = pytest.mark.ros

STOP_S = 0.2
# From the teleoperation's word to the first tick that heeds it.
NOTICE_S = 0.15
DEAD_MAN, OPEN, CLOSE, HAND_BACK = 4, 1, 0, 3


class Stick:
    """A gamepad that repeats its state at 30 Hz."""

    def __init__(self, graph: Graph) -> None:
        self._publisher = graph.publisher(Joy, "joy")
        self._graph = graph
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.axes = [0.0] * 8
        self.pressed: set[int] = set()
        self.speaking = True
        graph.wait_matched(self._publisher)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def hold(self, *buttons: int, x: float = 0.0) -> int:
        """Hold buttons and deflect; return when that was."""
        self.axes[1] = x
        self.pressed = set(buttons)
        return self._graph.now_ns()

    def _run(self) -> None:
        while not self._ending.wait(1.0 / 30.0):
            if self.speaking:
                buttons = [int(index in self.pressed) for index in range(11)]
                self._publisher.publish(Joy(axes=self.axes, buttons=buttons))


@pytest.fixture
def rig(graph: Graph) -> Iterator[Rig]:
    made = Rig(graph)
    yield made
    made.close()


@pytest.fixture
def stick(graph: Graph, rig: Rig) -> Iterator[Stick]:
    graph.start("dream_vla_ros.nodes.teleop.node", parameter_files=[CONFIG])
    health = graph.record(DiagnosticArray, "/diagnostics")
    made = Stick(graph)
    health.wait(lambda array: any(s.message == READY for s in array.status), start=0, what="the joystick")
    yield made
    made.close()


def take_over(rig: Rig, stick: Stick) -> None:
    """Hold the dead-man switch, with the gripper's state made known, until the arm moves forward."""
    since = rig.graph.now_ns()
    stick.hold(DEAD_MAN, OPEN, x=1.0)
    rig.states.wait(lambda s: s.taken_over)
    rig.graph.wait(lambda: any(motion_of(d)[0] > 0.00199 for d in rig.deltas_since(since)), what="motion")
    stick.hold(DEAD_MAN, x=1.0)


def check_stood_soon(rig: Rig, since_ns: int) -> None:
    """Assert that the arm stood soon after the teleoperation said so, by the stamps of both."""
    rig.wait_rest()
    moving = [d for d in rig.deltas_since(since_ns) if motion_of(d).any()]
    if moving:
        assert (time_from_msg(moving[-1].header.stamp) - since_ns) / SECOND <= NOTICE_S + STOP_S


def said_to_stand(chunks: Recorder, goals: Recorder, since_ns: int, graph: Graph) -> int:
    """Return when the teleoperation first asked for rest, or gave the arm back, after a moment."""

    def first() -> list[int]:
        still = [msg for msg in chunks.messages if not any(vector_from_msg(msg.steps[0].translation))]
        ended = [msg for msg in goals.messages if not msg.active]
        stamps = [time_from_msg(msg.header.stamp) for msg in (*still, *ended)]
        return sorted(stamp for stamp in stamps if stamp > since_ns)

    return graph.wait(first, what="the teleoperation to ask for rest")[0]


@pytest.fixture
def said(graph: Graph) -> Callable[[int], int]:
    """Give a function that tells when the teleoperation asked for rest after a moment."""
    chunks = graph.record(ActionChunk, "teleop/action_chunk")
    goals = graph.record(ActiveGoal, "teleop/active_goal")
    return lambda since_ns: said_to_stand(chunks, goals, since_ns, graph)


def test_a_human_drives_and_the_arm_stands_when_he_lets_go(
    rig: Rig, stick: Stick, said: Callable[[int], int]
):
    stick.hold(x=1.0)
    take_over(rig, stick)
    limit = 0.1 * 0.02 + 1e-9
    released = stick.hold(x=1.0)
    rig.states.wait(lambda s: not s.taken_over)
    check_stood_soon(rig, said(released))
    steps = [motion_of(delta) for delta in rig.deltas.messages]
    assert max(np.linalg.norm(step) for step in steps) <= limit
    assert max(step[0] for step in steps) == pytest.approx(0.1 * 0.02)
    assert rig.deltas.last.gripper == 1.0


def test_a_joystick_that_falls_silent_stops_the_arm(rig: Rig, stick: Stick, said: Callable[[int], int]):
    take_over(rig, stick)
    stick.speaking = False
    silent = rig.graph.now_ns()
    rig.states.wait(lambda s: not s.taken_over)
    check_stood_soon(rig, said(silent))


def test_a_take_over_in_a_goal_and_the_hand_back(
    rig: Rig, stick: Stick, graph: Graph, said: Callable[[int], int]
):
    rig.begin()
    rig.give((0.0, 0.01, 0.0), steps=10, period_s=0.2)
    rig.wait_mode(ControllerState.EXECUTING)
    take_over(rig, stick)
    # The policy goes on predicting; nothing of it moves the arm.
    rig.give((0.0, 0.01, 0.0), steps=10, period_s=0.2)
    stood = said(stick.hold())
    check_stood_soon(rig, stood)
    since = stood + round((NOTICE_S + STOP_S) * SECOND)
    rig.states.wait(lambda s: s.taken_over and time_from_msg(s.header.stamp) > since + SECOND)
    assert not any(motion_of(delta).any() for delta in rig.deltas_since(since))
    assert rig.state.taken_over
    assert rig.state.cause != ControllerState.CAUSE_POLICY_LOST

    stick.hold(HAND_BACK)
    back = rig.states.wait(lambda s: not s.taken_over)
    assert uuid_from_msg(back.goal_id) == rig.goal_id
    assert back.chunks_refused == 0
    start = graph.now_ns()
    rig.give((0.0, 0.0, 0.005), steps=5, period_s=0.2)
    rig.wait_mode(ControllerState.HOLDING, ControllerState.CAUSE_CHUNK_EXHAUSTED)
    rig.wait_rest()
    np.testing.assert_allclose(rig.motion_since(start), [0.0, 0.0, 0.025], atol=1e-6)


def test_a_teleoperation_that_dies_takes_the_goal_with_it(rig: Rig, stick: Stick, graph: Graph):
    rig.begin()
    take_over(rig, stick)
    graph.processes[-1].stop(signal.SIGKILL)
    rig.wait_mode(ControllerState.IDLE, ControllerState.CAUSE_POLICY_LOST)
    rig.wait_rest()


def test_the_service_hands_back_too(rig: Rig, stick: Stick, graph: Graph):
    rig.begin()
    take_over(rig, stick)
    stick.hold()
    assert graph.call(Trigger, "teleop/hand_back").success
    rig.states.wait(lambda s: not s.taken_over)
    assert not graph.call(Trigger, "teleop/hand_back").success
