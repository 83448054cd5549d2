"""The policy node without a policy: goals, inputs, predictions and outcomes, whatever predicts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import Bool

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_msgs.msg import ControllerState
from dream_vla_msgs.srv import GroundPredicates
from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.nodes.conversions import chunk_to_msg, time_from_msg, uuid_from_msg
from dream_vla_ros.nodes.managed_node import ManagedNode
from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.nodes.parameters import declare, declare_embodiment
from dream_vla_ros.nodes.policy.controller_watch import ControllerWatch
from dream_vla_ros.nodes.policy.diagnostics import PolicyDiagnostics
from dream_vla_ros.nodes.policy.goal import GoalRun
from dream_vla_ros.nodes.policy.heartbeat import Heartbeat
from dream_vla_ros.nodes.policy.inference import InferenceWorker, Pace, Prediction, warm_up
from dream_vla_ros.nodes.policy.inputs import Observer
from dream_vla_ros.nodes.policy.parameters import ParameterGuard, PolicyParameters
from dream_vla_ros.nodes.policy.server import InstructionServer
from dream_vla_ros.nodes.policy.success import SuccessQuestion
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.policy.consumption import Consumption, Report
from dream_vla_ros.policy.policy import Policy
from dream_vla_ros.policy.settling import SettleSettings
from dream_vla_ros.robot_state import RobotState

_RELIABLE_LAST_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE
)
_LATCHED_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# A goal is looked at this often, and the client told at every fourth look.
_LOOK_PERIOD_S = 0.05
_FEEDBACK_LOOKS = 4
_DIAGNOSTICS_PERIOD_S = 1.0
# Longest a prediction may take when the node is to stop; one that takes longer is left behind.
_INFERENCE_TIMEOUT_S = 60.0


class PolicyNodeBase(ManagedNode):
    """Carries out language instructions with a policy; derived classes say which.

    :param parameter_classes: Parameter dataclasses of the derived class with their prefixes.
    :raises ParameterError: If a parameter is missing or wrong.
    """

    def __init__(self, parameter_classes: Iterable[tuple[type, str]] = ()) -> None:
        super().__init__("policy")
        self.embodiment = declare_embodiment(self)
        self._guard = ParameterGuard(self)
        for cls, prefix in ((PolicyParameters, ""), (SettleSettings, "settle."), *parameter_classes):
            declare(self, cls, prefix)
            self._guard.guard(cls, prefix)
        self._policy: Policy[Any] | None = None
        self._server: InstructionServer | None = None
        self._states: StateSource | None = None
        self._observer: Observer[Any] | None = None
        self._worker: InferenceWorker | None = None
        self._diagnostics: PolicyDiagnostics | None = None
        self._current: GoalRun | None = None
        self._question: SuccessQuestion | None = None
        self._emergency = False
        self._time_limit_s = 0.0
        self._looks = 0
        self._chunk_id = 0
        self.consumption = Consumption()
        self._subscriptions_made: list[Any] = []
        self._controller: ControllerWatch | None = None
        self._planner = self.create_client(GroundPredicates, "ground_predicates")
        self._chunks = self.create_publisher(
            ActionChunkMsg,
            "action_chunk",
            _RELIABLE_LAST_QOS,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._heartbeat = Heartbeat(self)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._look_timer = self.create_timer(_LOOK_PERIOD_S, self._look, clock=steady)
        self._look_timer.cancel()
        self._diagnostics_timer = self.create_timer(_DIAGNOSTICS_PERIOD_S, self._diagnose, clock=steady)
        self._diagnostics_timer.cancel()

    @abstractmethod
    def load_policy(self) -> Policy[Any]:
        """Make the policy; may take its time.

        :raises Exception: Any, with a message that names the file or parameter at fault.
        """

    @abstractmethod
    def warm_up_observation(self) -> Any:
        """Return an observation to run the policy on before any goal."""

    @abstractmethod
    def make_observer(self, states: StateSource, on_input: Callable[[], None]) -> Observer[Any]:
        """Subscribe to what the policy sees; runs in the executor.

        :param on_input: To be called when something new came.
        """

    def refuse(self, instruction: str) -> str:
        """Say why an instruction cannot be carried out by this kind of policy; empty if it can."""
        return ""

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return declare(self, PolicyParameters).autostart

    @property
    def idle(self) -> bool:
        """Whether every goal has its outcome sent."""
        return self._server is None or self._server.idle

    def configure(self) -> None:
        """Load the policy and run it once."""
        self._policy = self.load_policy()
        seconds = warm_up(self._policy, self.warm_up_observation())
        if self._server is None:
            self._server = self.in_executor(
                lambda: InstructionServer(
                    self, self.embodiment.frames.base, self._begin, self._on_end, self._newest_state
                )
            )
        self.get_logger().info(
            f"policy '{self._policy.name}' ({self._policy.objective}): {seconds * 1e3:.0f} ms per prediction"
        )
        for note in self._policy.notes:
            self.get_logger().info(note)

    def activate(self) -> None:
        """Subscribe to the robot and take goals."""
        assert self._policy is not None
        self._observer = self.in_executor(self._subscribe)
        self._worker = InferenceWorker(
            self._policy, self._observer, self._publish_chunk, self.get_logger().error
        )
        self.in_executor(self._diagnostics_timer.reset)

    def end_goal(self) -> None:
        """End the goal that is being carried out, if any, because the node is to stop."""
        run = self._current
        if run is not None:
            run.end(Outcome.SHUTDOWN, "the policy node was deactivated or shut down")

    def deactivate(self) -> None:
        """End the goal, stop predicting and unsubscribe."""
        self.end_goal()
        worker, self._worker = self._worker, None
        if worker is not None and not worker.stop(_INFERENCE_TIMEOUT_S):
            # Freeing memory that a prediction still uses would crash the process.
            self._policy = None
            self.get_logger().error(f"inference did not end within {_INFERENCE_TIMEOUT_S:g} s; left behind")
        self.in_executor(self._unsubscribe)

    def cleanup(self) -> None:
        """Free the policy."""
        policy, self._policy = self._policy, None
        if policy is not None:
            policy.close()

    def close(self) -> None:
        """Fall silent, after :meth:`shut_down`."""
        self._heartbeat.stop()

    def _subscribe(self) -> Observer[Any]:
        self._emergency = False
        if self._states is None:
            # Kept from then on: it has no end, and the pose is reported of goals that end last of all.
            self._states = StateSource(self, self.embodiment)
        stop = self.create_subscription(Bool, "emergency_stop", self._on_emergency_stop, _LATCHED_QOS)
        state = self.create_subscription(ControllerState, "controller_state", self._on_controller, 10)
        self._subscriptions_made = [stop, state]
        self._controller = ControllerWatch(state.topic_name, self.embodiment.timing.input_timeout)
        self._diagnostics = PolicyDiagnostics(self, self.embodiment)
        return self.make_observer(self._states, self._on_input)

    def _unsubscribe(self) -> None:
        self._look_timer.cancel()
        self._diagnostics_timer.cancel()
        for subscription in self._subscriptions_made:
            self.destroy_subscription(subscription)
        self._subscriptions_made = []
        if self._observer is not None:
            self._observer.destroy()
        if self._diagnostics is not None:
            self._diagnostics.destroy()
        self._observer = self._diagnostics = self._controller = None

    def _begin(self, run: GoalRun) -> tuple[Outcome, str] | None:
        """Start a goal, or say why it ends at once; runs in the executor."""
        refusal = self._refusal(run)
        if refusal is not None:
            self.get_logger().warning(f"goal '{run.request.instruction}' refused: {refusal[1]}")
            return refusal
        assert self._worker is not None
        assert self._controller is not None
        parameters = declare(self, PolicyParameters)
        self._time_limit_s = run.request.time_limit_s or parameters.default_time_limit
        before, self._current = self._current, run
        self._heartbeat.announce(run.request.goal_id, run.request.instruction)
        if before is not None:
            before.end(Outcome.PREEMPTED, f"a newer goal took over: '{run.request.instruction}'")
        self._controller.begin()
        self.consumption.begin()
        self._worker.begin(
            run,
            Pace(
                execute_s=parameters.execute_steps * self.embodiment.action.period_s,
                min_interval_s=1.0 / parameters.max_inference_rate,
                settle=declare(self, SettleSettings, "settle."),
            ),
        )
        self._question = None
        if run.request.success_question:
            self._question = SuccessQuestion(
                self._planner, run, parameters.success_period, parameters.success_count
            )
        self._look_timer.reset()
        self.get_logger().info(f"goal '{run.request.instruction}' begins")
        return None

    def _refusal(self, run: GoalRun) -> tuple[Outcome, str] | None:
        request = run.request
        if self.lifecycle_state != "active" or self._worker is None:
            return (
                Outcome.REFUSED,
                f"the policy node is {self.lifecycle_state}, not active; activate it first",
            )
        if not request.instruction.strip():
            return Outcome.REFUSED, "the instruction is empty"
        if request.time_limit_s < 0.0:
            return Outcome.REFUSED, f"the time limit is {request.time_limit_s:g} s, which is negative"
        if request.success_question and not self._planner.service_is_ready():
            return Outcome.REFUSED, (
                f"a success question needs the service '{self._planner.service_name}', which is not there; "
                f"start the planner or leave the question out"
            )
        if self._emergency:
            return Outcome.EMERGENCY_STOP, "the emergency stop is pressed; resume before sending a goal"
        reason = self.refuse(request.instruction)
        return (Outcome.REFUSED, reason) if reason else None

    def _on_end(self, run: GoalRun) -> None:
        """Stop the arm for a goal that has ended; runs in any thread."""
        self._heartbeat.withdraw(run.request.goal_id)
        if self._current is run:
            self._current = None
        if self._worker is not None:
            self._worker.poke()
        assert run.outcome is not None
        outcome, message = run.outcome
        self.get_logger().info(
            f"goal '{run.request.instruction}' ended after {run.elapsed_s:.1f} s and {run.chunks} chunks: "
            f"{outcome.words}: {message}"
        )

    def _look(self) -> None:
        """See whether the goal must end, ask the success question, and send feedback."""
        run = self._current
        if run is None or self._server is None:
            self._look_timer.cancel()
            if self._question is not None:
                self._question.close()
                self._question = None
            return
        verdict = self._verdict(run)
        if verdict is not None:
            run.end(*verdict)
            return
        if self._question is not None:
            self._question.tick()
        self._looks += 1
        if self._looks % _FEEDBACK_LOOKS == 0:
            self._server.send_feedback(run)

    def _verdict(self, run: GoalRun) -> tuple[Outcome, str] | None:
        if run.elapsed_s > self._time_limit_s:
            return Outcome.TIME_LIMIT, f"the time limit of {self._time_limit_s:g} s passed"
        waited_s, reason = run.waited()
        if waited_s > self.embodiment.timing.input_timeout:
            return Outcome.STALE_INPUT, f"nothing fresh to predict from for {waited_s:.1f} s: {reason}"
        return None if self._controller is None else self._controller.judge(run)

    def _publish_chunk(self, run: GoalRun, prediction: Prediction) -> float | None:
        """Publish a prediction; runs in the inference thread."""
        assert self._policy is not None
        motion = prediction.result.motion
        chunk = ActionChunk(
            translation=motion.translation,
            rotation=motion.rotation,
            gripper=motion.gripper,
            period_s=prediction.result.period_s,
            stamp_ns=prediction.stamp_ns,
            goal_id=run.request.goal_id,
            chunk_id=self._chunk_id + 1,
        )
        latency_s = (self.get_clock().now().nanoseconds - prediction.stamp_ns) * 1e-9
        message = chunk_to_msg(
            chunk,
            frame_id=self.embodiment.frames.base,
            instruction=run.request.instruction,
            latency_s=latency_s,
            model=self._policy.name,
            objective=self._policy.objective,
        )
        if not run.publish(lambda: self._chunks.publish(message), latency_s):
            return None
        self._chunk_id += 1
        if run is self._current:
            self.consumption.publish(self._chunk_id, prediction.stamp_ns, latency_s)
        return latency_s

    def _on_input(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.poke()

    def _on_emergency_stop(self, message: Bool) -> None:
        self._emergency = message.data
        run = self._current
        if message.data and run is not None:
            run.end(Outcome.EMERGENCY_STOP, "the emergency stop was pressed")

    def _on_controller(self, message: ControllerState) -> None:
        if self._controller is not None:
            self._controller.hear(message)
        run = self._current
        if run is not None and uuid_from_msg(message.goal_id) == run.request.goal_id:
            self.consumption.hear(
                Report(time_from_msg(message.header.stamp), message.executed_time, message.chunk_id)
            )

    def _newest_state(self) -> RobotState | None:
        return None if self._states is None else self._states.latest()

    def _diagnose(self) -> None:
        worker, observer, diagnostics = self._worker, self._observer, self._diagnostics
        if (
            worker is not None
            and observer is not None
            and diagnostics is not None
            and self._policy is not None
        ):
            diagnostics.publish(
                self._policy,
                observer.camera_statistics(),
                worker.latencies,
                worker.inference_times,
                worker.out_of_range,
                self.consumption.delay_s,
            )
