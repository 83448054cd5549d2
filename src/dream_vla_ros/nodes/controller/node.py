"""The controller node: action chunks and measured state in, end-effector commands out at control rate."""

from __future__ import annotations

import gc
import math
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_msgs.msg import ActiveGoal, ControllerState
from dream_vla_ros.chunk import InvalidChunkError
from dream_vla_ros.control import Cause, Command, Controller, ControlSettings, Mode, Reason
from dream_vla_ros.control.tally import SafetyTally
from dream_vla_ros.embodiment import StateSource as StateSourceKind
from dream_vla_ros.nodes.adapters import Adapter, AdapterError, make_adapters
from dream_vla_ros.nodes.controller.loop import FixedRateLoop
from dream_vla_ros.nodes.controller.messages import diagnostics, state_to_msg
from dream_vla_ros.nodes.controller.safety_diagnostics import layer_statuses, publisher_status
from dream_vla_ros.nodes.controller.stop import EmergencyStopTopic
from dream_vla_ros.nodes.conversions import chunk_from_msg, uuid_from_msg
from dream_vla_ros.nodes.parameters import declare, declare_embodiment
from dream_vla_ros.nodes.serving import EXIT_FAULT, run_node
from dream_vla_ros.nodes.spinner import Spinner
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.parameters import param

_DEPTH = 10
_LOG_PERIOD_S = 2.0
# A node that was told to end waits this long beyond the stop time for the arm to stand.
_END_MARGIN_S = 0.5


@dataclass(frozen=True)
class ReportSettings:
    """How often the node reports."""

    state_rate: float = param(
        10.0,
        "ControllerState messages per second, beside one at each change [Hz].",
        minimum=1.0,
        maximum=100.0,
    )
    diagnostics_rate: float = param(
        1.0, "Messages on /diagnostics per second [Hz].", minimum=0.1, maximum=10.0
    )


class ControllerNode(Node):
    """Carries out the active goal's chunks at control rate, in a thread of its own.

    :raises ParameterError: Naming the parameter and what is allowed.
    :raises AdapterError: If the chosen adapter cannot work here.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__("controller", **arguments)
        self._embodiment = declare_embodiment(self)
        self._settings = declare(self, ControlSettings)
        self._reports = declare(self, ReportSettings)
        self._lock = threading.RLock()
        self._controller = Controller(self._embodiment, self._settings)
        self._warn_of_long_chunks()
        self._period_s = 1.0 / self._embodiment.timing.control_rate
        self._group = MutuallyExclusiveCallbackGroup()
        self._logged: dict[str, float] = {}
        self._told: tuple[Mode, Cause, int] | None = None
        self._tally = SafetyTally()
        self._state_due_ns = 0
        self._diagnostics_due_ns = 0
        self._command: Command | None = None

        self._state_source = StateSource(self, self._embodiment, self._group)
        self._adapters = make_adapters(self, self._embodiment)
        self._states = self.create_publisher(ControllerState, "controller_state", _DEPTH)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", _DEPTH)
        self._subscribe(ActionChunkMsg, "action_chunk", self._on_chunk, QoSProfile(depth=_DEPTH))
        self._subscribe(
            ActiveGoal,
            "active_goal",
            self._on_active_goal,
            QoSProfile(depth=_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL),
        )
        self._subscribe(ActionChunkMsg, "teleop/action_chunk", self._on_chunk, QoSProfile(depth=_DEPTH))
        self._subscribe(ActiveGoal, "teleop/active_goal", self._on_human_goal, QoSProfile(depth=_DEPTH))
        # Only one may publish on these: a second one would pull the arm to and fro.
        single = ["action_chunk", "active_goal"]
        if self._embodiment.state.source is StateSourceKind.POSE_TOPIC:
            single.append(self._embodiment.state.pose_topic)
        self._single = [self.resolve_topic_name(name) for name in single]
        if self._settings.dead_man_topic:
            self._subscribe(Bool, self._settings.dead_man_topic, self._on_dead_man, qos_profile_sensor_data)
        self._stop_topic = EmergencyStopTopic(
            self, self._guarded(self._stop), lambda: self._controller.stopped, self._group
        )
        self.create_service(Trigger, "~/stop", self._on_stop, callback_group=self._group)
        self.create_service(Trigger, "~/resume", self._on_resume, callback_group=self._group)
        self.loop = FixedRateLoop(self._period_s, self._tick, "control loop")

    def start(self) -> None:
        """Begin to command."""
        robot = self._embodiment
        self.get_logger().info(
            f"{robot.robot}: {robot.timing.control_rate:g} commands per second, adapter "
            f"{robot.output.adapter.value}, state from {robot.state.source.value}"
        )
        self.loop.start()

    def end(self) -> None:
        """Ramp to a hold, then command no more."""
        with self._lock:
            self._controller.drop_goal(Reason(Cause.NO_GOAL, "the controller is shutting down"))
        deadline = time.monotonic() + self._settings.stop_time + _END_MARGIN_S
        while self._moving() and self.loop.alive and time.monotonic() < deadline:
            time.sleep(self._period_s)
        self.loop.end(timeout_s=_END_MARGIN_S)
        for adapter in self._adapters:
            adapter.close()

    def _moving(self) -> bool:
        command = self._command
        return command is not None and bool(command.linear.any() or command.angular.any())

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile) -> None:
        self.create_subscription(
            kind,
            topic,
            self._guarded(callback),
            qos,
            callback_group=self._group,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _on_chunk(self, msg: ActionChunkMsg) -> None:
        try:
            chunk = chunk_from_msg(msg, self._embodiment.frames.base)
        except InvalidChunkError as error:
            with self._lock:
                refusal = self._controller.refuse_chunk(
                    uuid_from_msg(msg.goal_id), f"chunk {msg.chunk_id}: {error}"
                )
        else:
            now_ns = self.get_clock().now().nanoseconds
            with self._lock:
                refused = self._controller.take_chunk(chunk, now_ns)
            if refused is None:
                return
            if refused.cause is Cause.TAKEN_OVER:
                return
            refusal = refused
        with self._lock:
            self._tally.refuse(refusal)
        self._warn(refusal.cause.name, f"chunk refused: {refusal.message}")

    def _on_active_goal(self, msg: ActiveGoal) -> None:
        self._hear(msg, human=False)

    def _on_human_goal(self, msg: ActiveGoal) -> None:
        self._hear(msg, human=True)

    def _hear(self, msg: ActiveGoal, *, human: bool) -> None:
        now_ns = time.monotonic_ns()
        with self._lock:
            before = self._controller.goal_id
            self._controller.heartbeat(msg.active, uuid_from_msg(msg.goal_id), now_ns, human=human)
            after = self._controller.goal_id
        if after != before:
            words = "handed back" if human and not msg.active else msg.instruction
            self.get_logger().info(
                "no goal is active" if after is None else f"goal {after.hex()}: {words}".rstrip(": ")
            )

    def _on_dead_man(self, msg: Bool) -> None:
        with self._lock:
            self._controller.dead_man.hear(bool(msg.data), time.monotonic_ns())

    def _stop(self, message: str) -> None:
        with self._lock:
            already = self._controller.stopped
            self._controller.stop(message)
        if not already:
            self.get_logger().error(f"{message}: the arm is held until ~/resume")
            self._stop_topic.publish(True)

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop("emergency stop by ~/stop")
        response.success = True
        response.message = "stopped; nothing moves until ~/resume and a new goal"
        return response

    def _on_resume(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            response.success = self._controller.resume()
        if response.success:
            self.get_logger().warning("emergency stop lifted; waiting for a new goal")
            self._stop_topic.publish(False)
            response.message = "resumed; nothing moves until a new goal is sent"
        else:
            response.message = "the emergency stop is not latched"
        return response

    def _tick(self) -> None:
        try:
            command = self._decide()
        except Exception:
            self._fault("the controller failed", traceback.format_exc(), Cause.FAULT)
            return
        self._command = command
        for adapter in self._adapters:
            self._send(adapter, command)
        try:
            self._report(command)
        except Exception:
            self._warn("report", f"reporting failed:\n{traceback.format_exc()}")

    def _send(self, adapter: Adapter, command: Command) -> None:
        try:
            adapter.send(command)
        except AdapterError as error:
            self._fault(f"adapter {type(adapter).__name__}: {error}")
        except Exception:
            self._fault(f"adapter {type(adapter).__name__} failed", traceback.format_exc())

    def _decide(self) -> Command:
        state = self._state_source.latest()
        with self._lock:
            command = self._controller.tick(
                self.get_clock().now().nanoseconds,
                time.monotonic_ns(),
                state,
                missing=self._state_source.problem,
                refused=self._state_source.refused,
            )
            self._tally.tick(command)
            return command

    def _report(self, command: Command) -> None:
        now_ns = time.monotonic_ns()
        # The chunk, too, so that the policy learns what was executed before it was taken over.
        telling = (command.mode, command.reason.cause, command.chunk_id)
        changed = self._told is None or telling[:2] != self._told[:2]
        if telling != self._told or now_ns >= self._state_due_ns:
            self._state_due_ns = now_ns + round(1e9 / self._reports.state_rate)
            self._states.publish(state_to_msg(command, self._embodiment.frames.base))
        self._told = telling
        if changed:
            self._log_mode(command)
        if now_ns >= self._diagnostics_due_ns:
            self._diagnostics_due_ns = now_ns + round(1e9 / self._reports.diagnostics_rate)
            self._diagnostics.publish(self._diagnose(command, now_ns))

    def _diagnose(self, command: Command, now_ns: int) -> DiagnosticArray:
        node, hardware = self.get_name(), self._embodiment.robot
        array = diagnostics(
            command,
            self.loop.figures(),
            node=node,
            hardware=hardware,
            policy_silence_s=self._controller.policy_silence_s(now_ns),
            period_s=self._period_s,
        )
        with self._lock:
            reports = self._tally.reports()
        array.status += layer_statuses(reports, node, hardware)
        counts = {topic: self.count_publishers(topic) for topic in self._single}
        array.status.append(publisher_status(counts, node, hardware))
        return array

    def _log_mode(self, command: Command) -> None:
        words = f"{command.mode.name.lower()}: {command.reason.message}".rstrip(": ")
        if command.mode is Mode.NO_STATE or command.reason.cause in (Cause.POLICY_LOST, Cause.CLOCK_JUMP):
            self._warn(f"mode {command.mode.name} {command.reason.cause.name}", words)
        else:
            self.get_logger().debug(words)

    def _fault(self, problem: str, details: str = "", cause: Cause = Cause.ADAPTER) -> None:
        reason = Reason(cause, problem)
        with self._lock:
            self._controller.interrupt(reason)
            self._tally.refuse(reason)
        self._warn(problem, f"{problem}; the arm is held\n{details}".rstrip())

    def _warn(self, topic: str, message: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(topic, -math.inf) >= _LOG_PERIOD_S:
            self._logged[topic] = now
            self.get_logger().warning(message)

    def _guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return the callback with what it raises turned into a hold."""

        def guarded(argument: Any) -> None:
            try:
                callback(argument)
            except Exception:
                self._fault(f"{callback.__name__} failed", traceback.format_exc(), Cause.FAULT)

        return guarded

    def _warn_of_long_chunks(self) -> None:
        action, timing = self._embodiment.action, self._embodiment.timing
        duration_s = action.chunk_size * action.period_s
        if duration_s > timing.chunk_max_age:
            self.get_logger().warning(
                f"a chunk lasts {duration_s:g} s (action.chunk_size {action.chunk_size} at action.rate "
                f"{action.rate:g} Hz), but timing.chunk_max_age ends it {timing.chunk_max_age:g} s after its "
                "image"
            )


def main(args: Sequence[str] | None = None) -> int:
    """Run the controller until SIGINT or SIGTERM.

    :returns: Exit code: 0 when told to end, 2 for wrong parameters, 1 for a fault.
    """
    return run_node("controller", ControllerNode, _serve, args)


def _serve(node: ControllerNode, ending: threading.Event) -> int:
    spinner = Spinner(node, ending.set)
    spinner.start()
    node.start()
    # What was made so far stays; without it in every collection the loop keeps its time better.
    gc.collect()
    gc.freeze()
    while not ending.wait(timeout=0.2) and node.loop.alive:
        pass
    code = 0 if node.loop.alive else EXIT_FAULT
    node.end()
    spinner.stop()
    return code


if __name__ == "__main__":
    raise SystemExit(main())
