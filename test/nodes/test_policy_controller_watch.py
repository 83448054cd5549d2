"""Tests of judging from the controller's state whether a goal can go on."""

from __future__ import annotations

import time

import pytest

from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.nodes.conversions import time_to_msg, uuid_to_msg
from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.nodes.policy.controller_watch import ControllerWatch
from dream_vla_ros.nodes.policy.goal import GoalRequest, GoalRun

TIMEOUT_S = 3.0
GOAL = b"g" * 16
ACCEPTED_NS = 10**9


class Scene:
    """A watch on a clock of its own, which hears one state after another."""

    def __init__(self):
        self.now = 100.0
        self.watch = ControllerWatch("/controller_state", TIMEOUT_S, lambda: self.now)
        self.run = GoalRun(GoalRequest(GOAL, "go", "", 0.0, ACCEPTED_NS, time.monotonic_ns()), lambda _: None)

    def hear(self, seconds, *, goal=GOAL, stamp_ns=ACCEPTED_NS + 1, **fields):
        """Let the controller say the same every 0.1 s; return the first verdict."""
        state = ControllerState(goal_id=uuid_to_msg(goal), **fields)
        state.header.stamp = time_to_msg(stamp_ns)
        end = self.now + seconds
        verdict = None
        while verdict is None and self.now < end:
            self.watch.hear(state)
            verdict = self.watch.judge(self.run)
            self.now += 0.1
        return verdict

    def silence(self, seconds):
        self.now += seconds
        return self.watch.judge(self.run)


@pytest.fixture
def scene():
    return Scene()


EXECUTING = {"mode": ControllerState.EXECUTING, "chunks_accepted": 1}


def test_controller_at_work_is_left_alone(scene):
    assert scene.hear(20.0, **EXECUTING) is None
    assert scene.hear(20.0, mode=ControllerState.HOLDING, chunks_accepted=1) is None


def test_silence_is_a_fault_that_names_the_topic(scene):
    assert scene.hear(1.0, **EXECUTING) is None
    assert scene.silence(2.5) is None
    outcome, message = scene.silence(1.0)
    assert outcome is Outcome.FAULT
    assert "/controller_state" in message


def test_controller_that_was_never_heard_is_a_fault(scene):
    assert scene.silence(2.9) is None
    assert scene.silence(0.2)[0] is Outcome.FAULT


def test_silence_before_the_goal_does_not_count(scene):
    scene.now += 100.0
    scene.watch.begin()
    assert scene.silence(1.0) is None


def test_stopped_controller_ends_the_goal_as_emergency(scene):
    verdict = scene.hear(0.1, mode=ControllerState.STOPPED, goal=bytes(16), message="pressed")
    assert verdict == (Outcome.EMERGENCY_STOP, "pressed")


def test_state_from_before_the_goal_says_nothing(scene):
    assert scene.hear(1.0, mode=ControllerState.STOPPED, stamp_ns=ACCEPTED_NS - 1) is None


def test_goal_that_was_dropped_is_a_fault_with_the_controllers_words(scene):
    assert scene.hear(1.0, **EXECUTING) is None
    outcome, message = scene.hear(5.0, goal=bytes(16), mode=ControllerState.IDLE, message="policy lost")
    assert outcome is Outcome.FAULT
    assert message.endswith("policy lost")


def test_controller_that_has_not_taken_the_goal_yet_has_time(scene):
    assert scene.hear(2.0, goal=bytes(16), mode=ControllerState.IDLE) is None


def test_goal_that_the_controller_never_takes_is_a_fault_with_its_words(scene):
    outcome, message = scene.hear(
        5.0, goal=bytes(16), mode=ControllerState.IDLE, message="no heartbeat heard"
    )
    assert outcome is Outcome.FAULT
    assert message.endswith("not taken the goal over: no heartbeat heard")


def test_controller_started_anew_may_take_the_goal_again(scene):
    assert scene.hear(1.0, **EXECUTING) is None
    assert scene.hear(0.5, goal=bytes(16), mode=ControllerState.IDLE) is None
    assert scene.hear(1.0, **EXECUTING) is None


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"mode": ControllerState.NO_STATE, "cause": ControllerState.CAUSE_STATE_STALE}, Outcome.STALE_INPUT),
        ({"mode": ControllerState.HOLDING, "cause": ControllerState.CAUSE_ADAPTER}, Outcome.FAULT),
    ],
)
def test_lasting_trouble_ends_the_goal_with_its_cause(scene, fields, outcome):
    began = scene.now
    verdict = scene.hear(10.0, message="the driver says no", **fields)
    assert verdict[0] is outcome
    assert "the driver says no" in verdict[1]
    assert TIMEOUT_S <= scene.now - began < TIMEOUT_S + 0.5


def test_passing_trouble_is_forgotten(scene):
    stale = {"mode": ControllerState.NO_STATE, "cause": ControllerState.CAUSE_STATE_STALE}
    for turn in range(5):
        assert scene.hear(2.0, executed_time=float(turn), **stale) is None
        assert scene.hear(1.0, executed_time=turn + 1.0, **EXECUTING) is None


def test_fault_that_flickers_with_every_chunk_lasts(scene):
    verdict, chunk = None, 0
    while verdict is None and scene.now < 120.0:
        chunk += 1
        told = {"chunks_accepted": chunk, "executed_time": 0.02 * chunk}
        verdict = scene.hear(0.1, mode=ControllerState.EXECUTING, **told)
        verdict = verdict or scene.hear(
            0.7, mode=ControllerState.HOLDING, cause=ControllerState.CAUSE_ADAPTER, **told
        )
    assert verdict is not None
    assert verdict[0] is Outcome.FAULT


def test_chunks_that_are_all_refused_are_a_fault(scene):
    verdict, refused = None, 0
    while verdict is None and scene.now < 120.0:
        refused += 1
        verdict = scene.hear(
            0.8, mode=ControllerState.HOLDING, chunks_refused=refused, message="chunk is late"
        )
    assert verdict is not None
    assert verdict[0] is Outcome.FAULT
    assert "chunk is late" in verdict[1]


def test_single_refusals_among_accepted_chunks_are_no_fault(scene):
    for turn in range(20):
        fields = {"chunks_accepted": turn, "chunks_refused": turn // 3, "executed_time": 0.8 * turn}
        assert scene.hear(0.8, mode=ControllerState.EXECUTING, **fields) is None
