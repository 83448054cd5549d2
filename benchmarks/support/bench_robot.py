"""What the pipeline's benchmark needs around it: cameras, an arm that follows at once, and an empty timer.

Two nodes in two processes: `robot` publishes noise images and a pose that is the target pose; `timer` has one
rclpy timer that does nothing but note when it was called.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from support import timed_node

from dream_vla_ros.nodes.serving import run_node

STATE_HZ = 50.0
START = (0.3, 0.0, 0.2)
FINGERS = ("left_finger", "right_finger")


class BenchRobot(Node):
    """Publishes images, pose and joints; stamps are of the moment of publishing."""

    def __init__(self, width: int, height: int, rate_hz: float) -> None:
        super().__init__("bench_robot")
        self._pose = PoseStamped()
        self._pose.header.frame_id = "base_link"
        position = self._pose.pose.position
        position.x, position.y, position.z = START
        self._pose.pose.orientation.y = self._pose.pose.orientation.w = float(np.sqrt(0.5))
        self._poses = self.create_publisher(PoseStamped, "ee_pose", qos_profile_sensor_data)
        self._joints = self.create_publisher(JointState, "joint_states", qos_profile_sensor_data)
        self.create_subscription(PoseStamped, "target_pose", self._follow, 1)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / STATE_HZ, self._tell_state, clock=steady)
        rng = np.random.default_rng(0)
        self._cameras = []
        for name in ("third_person", "wrist"):
            coarse = rng.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
            pixels = np.kron(coarse, np.ones((20, 20, 1), dtype=np.uint8))
            message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
            message.data = pixels.tobytes()
            publisher = self.create_publisher(Image, f"{name}/image_raw", qos_profile_sensor_data)
            self._cameras.append((publisher, message))
        self.create_timer(1.0 / rate_hz, self._show, clock=steady)

    def _show(self) -> None:
        for publisher, message in self._cameras:
            message.header.stamp = self.get_clock().now().to_msg()
            publisher.publish(message)

    def _follow(self, target: PoseStamped) -> None:
        self._pose.pose = target.pose

    def _tell_state(self) -> None:
        now = self.get_clock().now().to_msg()
        self._pose.header.stamp = now
        self._poses.publish(self._pose)
        joints = JointState(name=list(FINGERS), position=[0.02, 0.02])
        joints.header.stamp = now
        self._joints.publish(joints)


class EmptyTimer(Node):
    """One timer at the control rate."""

    def __init__(self, rate_hz: float) -> None:
        super().__init__("empty_timer")
        self.create_timer(1.0 / rate_hz, self._call, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _call(self) -> None:
        now = time.time_ns()
        timed_node.NOTES.append(("tick", 0, now, now))


def serve(node: Node, ending: threading.Event) -> int:
    """Spin in this thread until the event is set."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    while not ending.is_set():
        executor.spin_once(timeout_sec=0.1)
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run one of the nodes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["robot", "timer"])
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--rate", type=float, default=30.0)
    given = parser.parse_args(None if args is None else list(args)[1:])
    makes: dict[str, Callable[[], Node]] = {
        "robot": lambda: BenchRobot(given.width, given.height, given.rate),
        "timer": lambda: EmptyTimer(given.rate),
    }
    return run_node(given.what, makes[given.what], serve, [])


if __name__ == "__main__":
    raise SystemExit(main())
