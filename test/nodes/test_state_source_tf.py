"""The state from tf, with a stand-in for tf2_ros: the wheels do not have it.

What is tested is what this package makes of tf's answers. That the real Buffer takes these calls is not.
"""

from __future__ import annotations

import math
import sys
import types

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.time import Time
from ros_graph import Graph

from dream_vla_ros.control.state_check import examine_state
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.conversions import time_to_msg
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.state_history import StateUnknownError

pytestmark = pytest.mark.ros

ROBOT = Embodiment.from_parameters(
    {
        "robot": "test",
        "cameras.names": ["third_person"],
        "cameras.third_person.topic": "image",
        "state.source": "tf",
        "state.joint_states_topic": "",
    }
)


class TransformException(Exception):
    """As in tf2."""


class Buffer:
    """Answers with the transform that a test put here."""

    def __init__(self, node: object) -> None:
        self.transform: TransformStamped | None = None

    def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
        if self.transform is None:
            raise TransformException(f'"{target}" passed to lookupTransform does not exist')
        assert (target, source) == (ROBOT.frames.base, ROBOT.frames.end_effector)
        return self.transform


@pytest.fixture
def source(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> tuple[StateSource, Buffer]:
    module = types.ModuleType("tf2_ros")
    buffers: list[Buffer] = []
    module.TransformException = TransformException
    module.Buffer = lambda node: buffers.append(Buffer(node)) or buffers[-1]
    module.TransformListener = lambda buffer, node, *, spin_thread: object()
    monkeypatch.setitem(sys.modules, "tf2_ros", module)
    made = StateSource(graph.node, ROBOT)
    return made, buffers[0]


def transform(x: float, stamp_ns: int) -> TransformStamped:
    msg = TransformStamped()
    msg.header.stamp = time_to_msg(stamp_ns)
    msg.transform.translation.x = x
    msg.transform.rotation.w = 1.0
    return msg


def test_the_newest_transform_is_the_state_and_a_tree_that_breaks_makes_it_old(source):
    states, buffer = source
    assert states.latest() is None
    assert "does not exist" in states.problem
    buffer.transform = transform(0.3, 5_000)
    state = states.latest()
    np.testing.assert_allclose(state.pose.position, [0.3, 0.0, 0.0])
    assert state.stamp_ns == 5_000
    assert states.problem == ""
    buffer.transform = None
    assert states.latest().received_ns == state.received_ns
    late_ns = state.received_ns + round(2e9 * ROBOT.timing.state_max_age)
    problem = examine_state(states.latest(), ROBOT.timing, 5_000, late_ns)
    assert "timing.state_max_age" in problem.message


def test_a_transform_that_does_not_change_is_not_taken_for_a_new_one(source):
    states, buffer = source
    buffer.transform = transform(0.3, 5_000)
    received_ns = states.latest().received_ns
    assert states.latest().received_ns == received_ns
    buffer.transform = transform(0.3, 6_000)
    assert states.latest().received_ns > received_ns


def test_a_transform_that_is_not_finite_is_refused(source):
    states, buffer = source
    buffer.transform = transform(math.nan, 5_000)
    assert states.latest() is None
    assert states.refused.startswith("/tf: ")
    buffer.transform = transform(0.3, 6_000)
    assert states.latest() is not None
    assert states.refused == ""


def test_a_moment_that_tf_does_not_know_is_unknown(source):
    states, buffer = source
    buffer.transform = transform(0.3, 5_000)
    states.latest()
    buffer.transform = None
    with pytest.raises(StateUnknownError, match="does not exist"):
        states.at(4_000)
