"""Messages and dataclasses carry the same numbers, there and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_ros.chunk import ActionChunk, InvalidChunkError
from dream_vla_ros.geometry import Pose, quaternion_from_rotation_vector
from dream_vla_ros.nodes import conversions

FINITE = st.floats(-10.0, 10.0)
VECTOR = st.tuples(FINITE, FINITE, FINITE)


@given(
    steps=st.lists(st.tuples(VECTOR, VECTOR, FINITE), min_size=1, max_size=5),
    period_ns=st.integers(1, 10**10),
    stamp_ns=st.integers(0, 2**31 * 10**9 - 1),
    goal_id=st.binary(min_size=16, max_size=16),
    chunk_id=st.integers(0, 2**64 - 1),
)
def test_chunk_survives_the_wire(steps, period_ns, stamp_ns, goal_id, chunk_id):
    translation, rotation, gripper = (np.array(v) for v in zip(*steps, strict=True))
    chunk = ActionChunk(translation, rotation, gripper, period_ns * 1e-9, stamp_ns, goal_id, chunk_id)
    msg = conversions.chunk_to_msg(
        chunk, frame_id="base", instruction="go", latency_s=0.25, model="tiny", objective="scripted"
    )

    received = deserialize_message(serialize_message(msg), ActionChunkMsg)
    back = conversions.chunk_from_msg(received, "base")

    np.testing.assert_array_equal(back.translation, chunk.translation)
    np.testing.assert_array_equal(back.rotation, chunk.rotation)
    np.testing.assert_array_equal(back.gripper, chunk.gripper)
    assert back.period_s == pytest.approx(chunk.period_s, abs=1e-9)
    assert (back.stamp_ns, back.goal_id, back.chunk_id) == (stamp_ns, goal_id, chunk_id)
    assert (received.instruction, received.model, received.objective) == ("go", "tiny", "scripted")
    assert conversions.duration_from_msg(received.latency) == 0.25


def test_chunk_that_cannot_be_executed_is_refused():
    chunk = ActionChunk(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2), 0.2, 1, bytes(16))
    msg = conversions.chunk_to_msg(chunk, frame_id="camera")
    with pytest.raises(InvalidChunkError, match="frame 'camera', not in 'base'"):
        conversions.chunk_from_msg(msg, "base")
    msg.steps[1].rotation.z = math.inf
    with pytest.raises(InvalidChunkError, match="rotation of step 1 is not finite"):
        conversions.chunk_from_msg(msg)
    msg.steps = []
    with pytest.raises(InvalidChunkError, match="at least one step"):
        conversions.chunk_from_msg(msg)


@given(position=VECTOR, rotation=VECTOR)
def test_pose_there_and_back(position, rotation):
    pose = Pose(np.array(position), quaternion_from_rotation_vector(np.array(rotation)))
    back = conversions.pose_from_msg(conversions.pose_to_msg(pose))
    np.testing.assert_array_equal(back.position, pose.position)
    np.testing.assert_allclose(back.quaternion, pose.quaternion, atol=1e-15)


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_time_there_and_back(nanoseconds: int):
    assert conversions.time_from_msg(conversions.time_to_msg(nanoseconds)) == nanoseconds


def test_durations_are_rounded_to_nanoseconds():
    assert conversions.duration_to_msg(-0.25).sec == -1
    assert conversions.duration_from_msg(conversions.duration_to_msg(-0.25)) == -0.25
    assert conversions.duration_to_msg(0.2).nanosec == 200_000_000
    assert conversions.time_to_msg(1_999_999_999) == Time(sec=1, nanosec=999_999_999)
