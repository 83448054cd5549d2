"""A controller process with an arm that follows its targets and a policy whose heartbeat can be told."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from ros_graph import BEST_EFFORT, LATCHED, Graph
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_msgs.msg import ActiveGoal, ControllerState, EndEffectorDelta
from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.conversions import (
    chunk_to_msg,
    pose_from_msg,
    pose_stamped,
    time_from_msg,
    time_to_msg,
    uuid_from_msg,
    uuid_to_msg,
)

CONFIG = Path(__file__).parents[3] / "config" / "tabletop.yaml"
MODULE = "dream_vla_ros.nodes.controller.node"
CENTRE = Pose(np.array([0.3, 0.0, 0.2]), np.array([0.0, 1.0, 0.0, 0.0]))
SECOND = 1_000_000_000
_POSE_PERIOD_S = 0.02
_HEARTBEAT_PERIOD_S = 0.1


def motion_of(delta: EndEffectorDelta) -> np.ndarray:
    """Return the translation of a delta."""
    return np.array([delta.translation.x, delta.translation.y, delta.translation.z])


def is_at_rest(state: ControllerState) -> bool:
    """Say whether nothing is commanded to move."""
    linear, angular = state.twist.linear, state.twist.angular
    return not any((linear.x, linear.y, linear.z, angular.x, angular.y, angular.z))


class Rig:
    """Everything around one controller process.

    :param measuring: Whether the arm publishes its pose.
    """

    def __init__(self, graph: Graph, **start: object) -> None:
        self.graph = graph
        self.measuring = True
        self.heartbeats = True
        self.goal_id: bytes | None = None
        self._pose = CENTRE
        self._follow = True
        self._chunk_id = 0
        self.deltas = graph.record(EndEffectorDelta, "end_effector_delta")
        self.states = graph.record(ControllerState, "controller_state")
        self.targets = graph.record(PoseStamped, "target_pose")
        self.grippers = graph.record(Float64MultiArray, "gripper_command")
        self.poses = graph.publisher(PoseStamped, "ee_pose", BEST_EFFORT)
        self.goals = graph.publisher(ActiveGoal, "active_goal", LATCHED)
        self.chunks = graph.publisher(ActionChunkMsg, "action_chunk")
        self.process = graph.start(MODULE, parameter_files=[CONFIG], **start)
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run_arm, daemon=True),
            threading.Thread(target=self._run_heartbeat, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        graph.wait_matched(self.poses, self.goals, self.chunks)
        self.wait_mode(ControllerState.IDLE)

    def close(self) -> None:
        """Let arm and heartbeat end."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def state(self) -> ControllerState:
        """The newest state."""
        assert self.states.last is not None
        return self.states.last

    def reset(self) -> None:
        """Bring the controller back to rest without a goal, and the arm to the centre."""
        self.measuring = self.heartbeats = True
        self.end()
        if self.state.mode == ControllerState.STOPPED:
            self.graph.call(Trigger, "controller/resume")
        self._follow = False
        self.wait_mode(ControllerState.IDLE)
        # Once the arm is left alone, the target is where the arm is.
        self.states.wait(lambda s: np.allclose(pose_from_msg(s.target).position, CENTRE.position))
        self._follow = True

    def begin(self) -> bytes:
        """Make a new goal active and wait until the controller knows."""
        self._chunk_id = 0
        self.goal_id = uuid.uuid4().bytes
        self.beat()
        self.states.wait(lambda s: uuid_from_msg(s.goal_id) == self.goal_id, what="the goal to be taken up")
        return self.goal_id

    def end(self) -> None:
        """Say that no goal is active."""
        self.goal_id = None
        self.beat()

    def beat(self, goal_id: bytes | None = None) -> None:
        """Send one heartbeat, of the active goal or another."""
        goal_id = goal_id or self.goal_id
        msg = ActiveGoal(active=goal_id is not None, goal_id=uuid_to_msg(goal_id or bytes(16)))
        msg.header.stamp = time_to_msg(self.graph.now_ns())
        self.goals.publish(msg)

    def chunk(
        self,
        translation: object = (0.0, 0.0, 0.0),
        rotation: object = (0.0, 0.0, 0.0),
        gripper: object = 1.0,
        *,
        steps: int = 3,
        period_s: float = 0.1,
        age_s: float = 0.0,
        stamp_ns: int | None = None,
        goal_id: bytes | None = None,
        chunk_id: int | None = None,
        frame_id: str = "base_link",
    ) -> ActionChunkMsg:
        """Make a chunk of the active goal."""
        if chunk_id is None:
            self._chunk_id += 1
            chunk_id = self._chunk_id
        stamp_ns = self.graph.now_ns() if stamp_ns is None else stamp_ns
        made = ActionChunk(
            np.broadcast_to(np.asarray(translation, dtype=float), (steps, 3)),
            np.broadcast_to(np.asarray(rotation, dtype=float), (steps, 3)),
            np.broadcast_to(np.asarray(gripper, dtype=float), (steps,)),
            period_s,
            stamp_ns - round(age_s * SECOND),
            goal_id or self.goal_id or bytes(16),
            chunk_id,
        )
        return chunk_to_msg(made, frame_id=frame_id, objective="scripted")

    def give(self, *arguments: object, **keywords: object) -> ActionChunkMsg:
        """Publish a chunk; see :meth:`chunk`."""
        msg = self.chunk(*arguments, **keywords)
        self.chunks.publish(msg)
        return msg

    def wait_mode(self, mode: int, cause: int | None = None, **keywords: object) -> ControllerState:
        """Wait for a mode, and a cause if given, in states still to come or the newest one."""
        names = f"mode {mode}" + ("" if cause is None else f" with cause {cause}")

        def reached(state: ControllerState) -> bool:
            return state.mode == mode and (cause is None or state.cause == cause)

        return self.states.wait(reached, start=max(0, len(self.states) - 1), what=names, **keywords)

    def wait_rest(self) -> ControllerState:
        """Wait until nothing is commanded to move."""
        return self.states.wait(is_at_rest, what="rest")

    def deltas_since(self, stamp_ns: int) -> list[EndEffectorDelta]:
        """Return the deltas of ticks from a moment on."""
        return [msg for msg in self.deltas.messages if time_from_msg(msg.header.stamp) >= stamp_ns]

    def motion_since(self, stamp_ns: int) -> np.ndarray:
        """Return the sum of the translations commanded from a moment on."""
        return sum((motion_of(delta) for delta in self.deltas_since(stamp_ns)), np.zeros(3))

    def _run_arm(self) -> None:
        seen = 0
        while not self._ending.wait(_POSE_PERIOD_S):
            if not self._follow:
                self._pose = CENTRE
                seen = len(self.targets)
            elif len(self.targets) > seen:
                seen = len(self.targets)
                self._pose = pose_from_msg(self.targets.last.pose)
            if self.measuring:
                self.poses.publish(pose_stamped(self._pose, self.graph.now_ns(), "base_link"))

    def _run_heartbeat(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            due += _HEARTBEAT_PERIOD_S
            if self.heartbeats:
                self.beat()
