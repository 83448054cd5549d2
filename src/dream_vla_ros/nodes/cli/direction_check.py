"""Moves the arm a little through the running controller, as a policy would, and measures what came of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np
from rclpy.qos import QoSProfile

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.cli.direction_verdict import DURATION_S, Probe
from dream_vla_ros.nodes.conversions import chunk_to_msg
from dream_vla_ros.nodes.policy.heartbeat import Heartbeat
from dream_vla_ros.nodes.spinning_node import NotReadyError, SpinningNode
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.robot_state import RobotState

_DEPTH = 10
_POLL_S = 0.02
# Others are discovered within this time.
_DISCOVERY_S = 1.0
_SETTLED_M, _SETTLED_RAD, _SETTLED_S = 0.0005, 0.003, 0.4
_LONGEST_S = 8.0
# Sums of control periods miss a duration by rounding.
_NO_TIME_S = 1e-6
# What cuts a motion short and says nothing about directions: no arm that moved too little.
_LOSSES = (
    ControllerState.CAUSE_STATE_STALE,
    ControllerState.CAUSE_STATE_INVALID,
    ControllerState.CAUSE_CLOCK_JUMP,
    ControllerState.CAUSE_ADAPTER,
    ControllerState.CAUSE_FAULT,
)
_OPEN = 0.5
# A motion goes in pieces, each far shorter than the age at which the controller drops what is left of a
# chunk, so that it is whole on a slow machine too.
_PIECES = 4


class MotionRefusedError(RuntimeError):
    """The controller does not carry out the motion; the message says why."""


class DirectionCheck:
    """The controller's only policy for a while; use it as a context manager.

    :param embodiment: The robot as its nodes know it.
    :param namespace: Namespace of the robot's nodes.
    :param ros_args: ROS arguments of the node.
    """

    def __init__(self, embodiment: Embodiment, *, namespace: str = "", ros_args: Sequence[str] = ()) -> None:
        self._embodiment = embodiment
        self._spinning = SpinningNode("check_directions", namespace=namespace, ros_args=ros_args)
        node = self._spinning.node
        self._states = StateSource(node, embodiment)
        self._controller: ControllerState | None = None
        self._chunks = node.create_publisher(ActionChunkMsg, "action_chunk", _DEPTH)
        self._heartbeat: Heartbeat | None = None
        node.create_subscription(
            ControllerState, "controller_state", self._on_controller, QoSProfile(depth=_DEPTH)
        )
        self._spinning.start()

    def __enter__(self) -> DirectionCheck:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Withdraw whatever moves; the controller holds the arm."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._spinning.close()

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait for controller and measured state, and make sure that nobody else drives the controller.

        :raises NotReadyError: Naming what is missing or in the way.
        """
        deadline = time.monotonic() + timeout_s
        time.sleep(_DISCOVERY_S)
        while missing := self._missing():
            if time.monotonic() >= deadline:
                raise NotReadyError(missing)
            time.sleep(_POLL_S)
        others = self._spinning.node.get_publishers_info_by_topic("active_goal")
        if others:
            raise NotReadyError(
                f"{others[0].node_namespace.rstrip('/')}/{others[0].node_name} drives the controller; launch "
                "without it: policy:=false"
            )
        self._heartbeat = Heartbeat(self._spinning.node)

    def measured(self) -> Pose:
        """Return where the end effector is.

        :raises NotReadyError: If that is not known lately.
        """
        return self._fresh().pose

    def move(self, probe: Probe, tell: Callable[[str], None] = lambda _: None) -> tuple[Pose, Pose]:
        """Carry out a motion and wait until the arm stands.

        :param tell: Called with what the controller says about the motion, where that is worth knowing.
        :returns: Measured pose before and after.
        :raises MotionRefusedError: If the controller takes no chunk, or is stopped.
        :raises NotReadyError: If the measured state goes missing.
        """
        assert self._heartbeat is not None
        before = self._fresh()
        goal_id = uuid.uuid4().bytes
        self._heartbeat.announce(goal_id, f"check directions: {probe.name}")
        try:
            self._wait_for_goal(goal_id)
            for number in range(1, _PIECES + 1):
                self._chunks.publish(self._chunk(probe, goal_id, number, before))
                self._wait_for_end(goal_id, number, tell)
            after = self._settle()
        finally:
            self._heartbeat.withdraw(goal_id)
        return before.pose, after

    def _chunk(self, probe: Probe, goal_id: bytes, number: int, state: RobotState) -> ActionChunkMsg:
        duration_s = DURATION_S / _PIECES
        steps = max(2, round(duration_s * self._embodiment.action.rate))
        period_s = duration_s / steps
        step, still = np.tile(probe.vector / (_PIECES * steps), (steps, 1)), np.zeros((steps, 3))
        # The gripper stays as it is; where nobody knows how it is, it opens.
        opening = 1.0 if state.gripper is None or state.gripper >= _OPEN else 0.0
        chunk = ActionChunk(
            still if probe.turning else step,
            step if probe.turning else still,
            np.full(steps, opening),
            period_s,
            self._spinning.node.get_clock().now().nanoseconds,
            goal_id,
            number,
        )
        return chunk_to_msg(
            chunk,
            frame_id=self._embodiment.frames.base,
            instruction=f"check directions: {probe.name}",
            model="check_directions",
            objective="scripted",
        )

    def _wait_for_goal(self, goal_id: bytes) -> None:
        deadline = time.monotonic() + _LONGEST_S
        while not self._is_of(goal_id):
            self._require_motion(deadline, "the controller does not take up the goal")
            time.sleep(_POLL_S)

    def _wait_for_end(self, goal_id: bytes, number: int, tell: Callable[[str], None]) -> None:
        deadline = time.monotonic() + _LONGEST_S
        told = ""
        while True:
            state = self._controller
            if state is not None and self._is_of(goal_id):
                if state.chunks_refused:
                    raise MotionRefusedError(f"the controller refuses: {state.message}")
                if state.chunks_accepted >= number and state.mode != ControllerState.EXECUTING:
                    whole = state.executed_time >= number * DURATION_S / _PIECES - _NO_TIME_S
                    if not whole and state.cause in _LOSSES:
                        raise MotionRefusedError(f"the motion was not carried out whole: {state.message}")
                    return
                if state.message != told and state.mode == ControllerState.EXECUTING:
                    told = state.message
                    tell(told)
            self._require_motion(deadline, "the controller does not carry out the motion")
            time.sleep(_POLL_S)

    def _settle(self) -> Pose:
        reference, since_s = self.measured(), time.monotonic()
        deadline = since_s + _LONGEST_S
        while time.monotonic() - since_s < _SETTLED_S and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            pose = self.measured()
            moved, turned = reference.motion_to(pose)
            if np.linalg.norm(moved) > _SETTLED_M or np.linalg.norm(turned) > _SETTLED_RAD:
                reference, since_s = pose, time.monotonic()
        return self.measured()

    def _require_motion(self, deadline: float, problem: str) -> None:
        state = self._controller
        words = "" if state is None else f": {state.message}"
        if state is not None and state.mode == ControllerState.STOPPED:
            raise MotionRefusedError(f"the emergency stop is pressed{words}; see 'dream_vla resume'")
        if time.monotonic() >= deadline:
            raise MotionRefusedError(problem + words)

    def _is_of(self, goal_id: bytes) -> bool:
        return self._controller is not None and bytes(self._controller.goal_id.uuid) == goal_id

    def _fresh(self) -> RobotState:
        state = self._states.latest()
        if state is None:
            raise NotReadyError(self._states.problem)
        age_s = state.age_s(self._spinning.node.get_clock().now().nanoseconds, time.monotonic_ns())
        # This process has no part in control: twice the controller's limit is fresh enough to judge by.
        if age_s > 2.0 * self._embodiment.timing.state_max_age:
            raise NotReadyError(
                f"the measured state is {age_s:.2f} s old; {self._states.problem}".rstrip("; ")
            )
        return state

    def _missing(self) -> str:
        if self._controller is None:
            topic = self._spinning.node.resolve_topic_name("controller_state")
            return f"nothing on '{topic}': launch the robot with policy:=false"
        try:
            self._fresh()
        except NotReadyError as error:
            return str(error)
        # What this process has heard by now the controller may not.
        if self._controller.mode == ControllerState.NO_STATE:
            return f"the controller is not ready: {self._controller.message}"
        return ""

    def _on_controller(self, msg: ControllerState) -> None:
        self._controller = msg
