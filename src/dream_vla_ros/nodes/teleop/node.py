"""A human's joystick as end-effector motion, through the same controller and limits as the policy's.

It sends goal and chunks as the policy does, on topics of its own, which the controller puts before the
policy's.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Joy
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_msgs.msg import ActiveGoal, ControllerState
from dream_vla_ros.nodes.controller.loop import FixedRateLoop
from dream_vla_ros.nodes.conversions import chunk_to_msg, time_to_msg, uuid_from_msg, uuid_to_msg
from dream_vla_ros.nodes.parameters import declare, declare_embodiment
from dream_vla_ros.nodes.serving import EXIT_FAULT, run_node
from dream_vla_ros.nodes.spinner import Spinner
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.teleop.mapping import JoyError, JoyMapping, JoyReader
from dream_vla_ros.teleop.operator import Drive, Operator, TeleopSettings, View, known_opening

GOAL_TOPIC = "teleop/active_goal"
CHUNK_TOPIC = "teleop/action_chunk"
_HEARTBEAT_S = 0.1
_DIAGNOSTICS_S = 1.0
# A controller or policy that says nothing for longer is not there.
_HEARD_FOR_S = 1.0
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


class TeleopNode(Node):
    """Turns ``joy`` into ``teleop/active_goal`` and ``teleop/action_chunk``.

    :raises ParameterError: Naming the parameter and what is allowed.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__("teleop", **arguments)
        self._embodiment = declare_embodiment(self)
        settings = declare(self, TeleopSettings)
        self._read = JoyReader(declare(self, JoyMapping, "joy."))
        self._operator = Operator(settings, self._embodiment.limits)
        self._lock = threading.Lock()
        self._states = StateSource(self, self._embodiment)
        self._policy: tuple[ActiveGoal, float] | None = None
        self._controller: tuple[ControllerState, float] | None = None
        self._told: tuple[bytes | None, float] = (None, -math.inf)
        self._message = ""
        self._diagnostics_due_s = 0.0
        self._goals = self.create_publisher(ActiveGoal, GOAL_TOPIC, 10)
        self._chunks = self.create_publisher(ActionChunkMsg, CHUNK_TOPIC, 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_subscription(Joy, "joy", self._on_joy, 10)
        self.create_subscription(ActiveGoal, "active_goal", self._on_policy, _LATCHED)
        self.create_subscription(ControllerState, "controller_state", self._on_controller, 10)
        self.create_service(Trigger, "~/hand_back", self._on_hand_back)
        self.loop = FixedRateLoop(1.0 / settings.rate, self._tick, "teleoperation")

    def end(self) -> None:
        """Give the arm back before the process ends."""
        self.loop.end(timeout_s=1.0)
        with self._lock:
            self._operator.hand_back()
        self._tell(Drive())

    def _on_joy(self, msg: Joy) -> None:
        now_ns = time.monotonic_ns()
        with self._lock:
            try:
                self._operator.hear(self._read(msg.axes, msg.buttons), now_ns)
            except JoyError as error:
                self._operator.refuse(str(error))

    def _on_policy(self, msg: ActiveGoal) -> None:
        with self._lock:
            self._policy = (msg, time.monotonic())

    def _on_controller(self, msg: ControllerState) -> None:
        with self._lock:
            self._controller = (msg, time.monotonic())

    def _on_hand_back(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            response.success = self._operator.in_charge
            self._operator.hand_back()
        response.message = "handed back" if response.success else "the human does not have the arm"
        return response

    def _tick(self) -> None:
        with self._lock:
            drive = self._operator.tick(
                self.get_clock().now().nanoseconds, time.monotonic_ns(), self._view(time.monotonic())
            )
            message = self._operator.message
        self._tell(drive)
        if message != self._message:
            self._message = message
            self._diagnostics_due_s = 0.0
            self.get_logger().info(message or "the arm is free")
        if time.monotonic() >= self._diagnostics_due_s:
            self._diagnostics_due_s = time.monotonic() + _DIAGNOSTICS_S
            self._diagnose(drive, message)

    def _view(self, now_s: float) -> View:
        policy = self._policy[0] if self._policy and now_s - self._policy[1] < _HEARD_FOR_S else None
        state = (
            self._controller[0] if self._controller and now_s - self._controller[1] < _HEARD_FOR_S else None
        )
        measured = self._states.latest()
        return View(
            policy_active=policy is not None and policy.active,
            stopped=state is not None and state.mode == ControllerState.STOPPED,
            goal_id=None if state is None else uuid_from_msg(state.goal_id),
            gripper=known_opening(
                math.nan if state is None else state.gripper, None if measured is None else measured.gripper
            ),
            controller=state is not None
            and self._goals.get_subscription_count() > 0
            and self._chunks.get_subscription_count() > 0,
        )

    def _tell(self, drive: Drive) -> None:
        now_s, now = time.monotonic(), self.get_clock().now().nanoseconds
        if drive.goal_id != self._told[0] or now_s - self._told[1] >= _HEARTBEAT_S:
            self._told = (drive.goal_id, now_s)
            message = ActiveGoal(header=Header(stamp=time_to_msg(now)), active=drive.goal_id is not None)
            message.goal_id = uuid_to_msg(drive.goal_id or bytes(16))
            message.instruction = "teleoperation" if drive.goal_id else ""
            self._goals.publish(message)
        if drive.chunk is not None:
            self._chunks.publish(
                chunk_to_msg(
                    drive.chunk,
                    frame_id=self._embodiment.frames.base,
                    instruction="teleoperation",
                    model="human",
                    objective="teleoperation",
                )
            )

    def _diagnose(self, drive: Drive, message: str) -> None:
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK,
            name=f"{self.get_name()}: joystick",
            message=message or "the arm is free",
            hardware_id=self._embodiment.robot,
            values=[KeyValue(key="the human has the arm", value=str(drive.goal_id is not None))],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def main(args: Sequence[str] | None = None) -> int:
    """Run the teleoperation until SIGINT or SIGTERM.

    :returns: Exit code: 0 when told to end, 2 for wrong parameters, 1 for a fault.
    """
    return run_node("teleop", TeleopNode, _serve, args)


def _serve(node: TeleopNode, ending: threading.Event) -> int:
    spinner = Spinner(node, ending.set)
    spinner.start()
    node.loop.start()
    while not ending.wait(timeout=0.2) and node.loop.alive:
        pass
    code = 0 if node.loop.alive else EXIT_FAULT
    node.end()
    spinner.stop()
    return code


if __name__ == "__main__":
    raise SystemExit(main())
