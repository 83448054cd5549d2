"""The recorder's subscriptions in a process that has no time for them."""

from __future__ import annotations

import time

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from std_msgs.msg import UInt32

from dream_vla_ros.data.recorded_topics import RecordedTopic
from dream_vla_ros.nodes.recorder.topics import RecorderTopics, Source

pytestmark = pytest.mark.ros

TIMEOUT_S = 20.0
BURST = 300
LAST = BURST + 1


def test_messages_that_nobody_took_in_time_are_counted(domain_id: int):
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    node = Node("busy", namespace=f"/busy_{time.monotonic_ns()}", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    received: list[int] = []
    lost: list[int] = []

    def receive(source: Source, data: bytes, received_ns: int) -> None:
        received.append(deserialize_message(data, UInt32).data)

    try:
        reliable = QoSProfile(depth=LAST, reliability=ReliabilityPolicy.RELIABLE)
        publisher = node.create_publisher(UInt32, "image", reliable)
        topics = RecorderTopics(
            node, [RecordedTopic("image", camera=True)], receive, lambda source, count: lost.append(count)
        )
        deadline = time.monotonic() + TIMEOUT_S

        def until(number: int) -> None:
            while not received or received[-1] < number:
                assert time.monotonic() < deadline, f"got {received}, told of {lost}"
                topics.look()
                if number == 0:
                    publisher.publish(UInt32(data=0))
                executor.spin_once(timeout_sec=0.02)

        until(0)
        for number in range(1, LAST + 1):
            publisher.publish(UInt32(data=number))
        until(LAST)
        (source,) = topics.sources
        taken = {number for number in received if number > 0}
        assert len(taken) < LAST
        # The zeros that were still waiting may be pushed out, too.
        assert sum(lost) >= LAST - len(taken)
        assert source.lost == sum(lost)
        assert source.received == len(received)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
