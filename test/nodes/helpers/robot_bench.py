"""The robot around a policy node: cameras, arm and controller, published by the test's own node.

Each part can be switched off or made to misbehave, and everything sent and heard is kept.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np
from geometry_msgs.msg import PoseStamped
from ros_graph import BEST_EFFORT, LATCHED, RELIABLE, Graph
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Header
from visualization_msgs.msg import Marker, MarkerArray

from dream_vla_msgs.msg import ActionChunk, ActiveGoal, ControllerState
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.conversions import (
    pose_stamped,
    pose_to_msg,
    time_from_msg,
    time_to_msg,
    uuid_from_msg,
)

CAMERAS = ("third_person", "wrist")
# As often as the arm's state; images at every second turn.
_PERIOD_S = 0.025
_JPEG_NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@dataclass
class Switches:
    """What the robot does; tests turn parts off."""

    cameras: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(CAMERAS, True))
    encoding: str = "rgb8"
    ahead_s: float = 0.0
    state: bool = True
    blocks: bool = True
    controller: bool = True
    naming: bool = True
    mode: int = ControllerState.HOLDING
    cause: int = ControllerState.CAUSE_NONE
    message: str = ""


class RobotBench:
    """Publishes what a policy node needs until closed.

    :param graph: Graph whose node publishes.
    :param pose: Where the arm stands.
    :param opening: Opening of the gripper.
    :param blocks: Blocks to publish, by colour.
    :param blocks_topic: Where.
    """

    def __init__(self, graph: Graph, pose: Pose, opening: float = 1.0, blocks=None, blocks_topic="") -> None:
        self._graph = graph
        self.pose, self.opening, self.blocks = pose, opening, blocks or {}
        self.switches = Switches()
        self.stamps: dict[str, list[int]] = {name: [] for name in CAMERAS}
        self._images = {name: graph.publisher(Image, f"{name}/image_raw", BEST_EFFORT) for name in CAMERAS}
        self._poses = graph.publisher(PoseStamped, "ee_pose", BEST_EFFORT)
        self._joints = graph.publisher(JointState, "joint_states", BEST_EFFORT)
        self._markers = graph.publisher(MarkerArray, blocks_topic, BEST_EFFORT) if blocks_topic else None
        self._controller = graph.publisher(ControllerState, "controller_state", RELIABLE)
        self.emergency_stop = graph.publisher(Bool, "emergency_stop", LATCHED)
        self.chunks = graph.record(ActionChunk, "action_chunk", RELIABLE)
        self.heartbeats = graph.record(ActiveGoal, "active_goal", LATCHED)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def reset(self) -> None:
        """Switch everything on again."""
        self.switches = Switches()

    def press_stop(self, pressed: bool) -> None:
        self.emergency_stop.publish(Bool(data=pressed))

    def chunks_of(self, goal_id: bytes) -> list[ActionChunk]:
        return [chunk for chunk in self.chunks.messages if uuid_from_msg(chunk.goal_id) == goal_id]

    def active_goal(self) -> bytes | None:
        """Goal that the last heartbeat named."""
        beat = self.heartbeats.last
        return uuid_from_msg(beat.goal_id) if beat is not None and beat.active else None

    def wait_beats(self, count: int) -> None:
        """Wait for heartbeats still to come: whatever was sent before them has arrived by then, as a rule."""
        start = len(self.heartbeats)
        self._graph.wait(lambda: len(self.heartbeats) >= start + count, what=f"{count} heartbeats")

    def _run(self) -> None:
        turn = 0
        due = time.monotonic()
        while not self._ending.is_set():
            now_ns = self._graph.now_ns()
            if self.switches.state:
                self._poses.publish(pose_stamped(self.pose, now_ns, "base_link"))
                self._joints.publish(self._joint_state(now_ns))
            if turn % 2 == 0:
                self._send_images(now_ns + round(self.switches.ahead_s * 1e9))
                if self._markers is not None and self.switches.blocks:
                    self._markers.publish(self._block_markers(now_ns))
            if turn % 4 == 0 and self.switches.controller:
                self._controller.publish(self._controller_state(now_ns))
            turn += 1
            due += _PERIOD_S
            self._ending.wait(max(0.0, due - time.monotonic()))

    def _send_images(self, stamp_ns: int) -> None:
        for index, name in enumerate(CAMERAS):
            if self.switches.cameras[name]:
                # The wrist camera runs a little behind, so the oldest image is always its own.
                stamp = stamp_ns - index * 5_000_000
                header = Header(stamp=time_to_msg(stamp), frame_id=name)
                self.stamps[name].append(stamp)
                self._images[name].publish(
                    Image(
                        header=header,
                        height=48,
                        width=64,
                        encoding=self.switches.encoding,
                        step=192,
                        data=_JPEG_NOISE.tobytes(),
                    )
                )

    def _joint_state(self, now_ns: int) -> JointState:
        travel = 0.037 * self.opening
        return JointState(
            header=Header(stamp=time_to_msg(now_ns)),
            name=["left_finger", "right_finger"],
            position=[travel, travel],
        )

    def _block_markers(self, now_ns: int) -> MarkerArray:
        header = Header(stamp=time_to_msg(now_ns), frame_id="base_link")
        return MarkerArray(
            markers=[
                Marker(header=header, ns=colour, type=Marker.CUBE, action=Marker.ADD, pose=pose_to_msg(pose))
                for colour, pose in self.blocks.items()
            ]
        )

    def _controller_state(self, now_ns: int) -> ControllerState:
        switches = self.switches
        state = ControllerState(
            header=Header(stamp=time_to_msg(now_ns), frame_id="base_link"),
            mode=switches.mode,
            cause=switches.cause,
            message=switches.message,
        )
        beat = self.heartbeats.last
        if switches.naming and beat is not None and beat.active:
            state.goal_id = beat.goal_id
            state.chunks_accepted = len(self.chunks_of(uuid_from_msg(beat.goal_id)))
        return state


def stamp_of(chunk: ActionChunk) -> int:
    """Capture time of a chunk in ns."""
    return time_from_msg(chunk.header.stamp)
