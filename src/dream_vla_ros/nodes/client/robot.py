"""The client side of a language goal as a person thinks of it: do this, is it done, what came of it.

.. code-block:: python

    from dream_vla_ros.nodes.client.robot import DreamVLA, Outcome

    with DreamVLA() as robot:
        result = robot.do("pick up the red block", time_limit_s=30.0)
        print(result.outcome is Outcome.SETTLED, result)

Or without blocking: :meth:`DreamVLA.send`, then :meth:`DreamVLA.is_done` and :attr:`DreamVLA.feedback`, then
:attr:`DreamVLA.result`; :meth:`DreamVLA.cancel` at any time.
"""

from __future__ import annotations

import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from rclpy.action import ActionClient
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger

from dream_vla_msgs.action import ExecuteInstruction
from dream_vla_msgs.msg import ActiveGoal, ControllerState
from dream_vla_ros.nodes.client.goal import WATCH_PERIOD_S, PolicyWatch, SentGoal
from dream_vla_ros.nodes.client.messages import feedback_from_message, is_still, result_from_message
from dream_vla_ros.nodes.client.readiness import CONTROLLER_HINT, PolicyReadiness
from dream_vla_ros.nodes.conversions import duration_to_msg, uuid_from_msg, uuid_to_msg
from dream_vla_ros.nodes.outcome import Feedback, Outcome, Progress, Result
from dream_vla_ros.nodes.spinning_node import NotReadyError, SpinningNode

__all__ = ["CommandFailedError", "DreamVLA", "Feedback", "NotReadyError", "Outcome", "Progress", "Result"]

_ACCEPT_TIMEOUT_S = 10.0


class CommandFailedError(RuntimeError):
    """A node refused a command; the message is its reason."""


class DreamVLA:
    """Send language goals to a running policy and watch over them.

    Has a node, a context and a thread of its own, so it works in any program whether that uses rclpy or
    not. One goal at a time: a new one takes over from the one before. Use it as a context manager; leaving
    the block cancels a goal still running.

    :param namespace: Namespace of the robot's nodes.
    :param ros_args: ROS arguments for the client's node, for example remappings.
    :param lost_after_s: Silence of the policy after which a goal counts as lost. The arm is held by the
        controller long before (``timing.policy_timeout``).
    """

    def __init__(
        self, *, namespace: str = "", ros_args: Sequence[str] = (), lost_after_s: float = 3.0
    ) -> None:
        self._lost_after_s = lost_after_s
        self._changed = threading.Condition()
        self._goal: SentGoal | None = None
        self._controller_state: ControllerState | None = None
        self._controller_state_at = -math.inf
        self._watch = PolicyWatch(lost_after_s)
        self._spinning = SpinningNode(
            f"dream_vla_client_{os.getpid()}", namespace=namespace, ros_args=ros_args
        )
        node = self._spinning.node
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._action = ActionClient(node, ExecuteInstruction, "execute_instruction")
        self._action_name = node.resolve_service_name("execute_instruction")
        self._stop_service = node.create_client(Trigger, "controller/stop")
        self._resume_service = node.create_client(Trigger, "controller/resume")
        self._readiness = PolicyReadiness(self._spinning, self._action, self._action_name)
        node.create_subscription(ActiveGoal, "active_goal", self._on_heartbeat, latched)
        self._state = node.create_subscription(
            ControllerState, "controller_state", self._on_controller_state, 10
        )
        node.create_timer(WATCH_PERIOD_S, self._watch_goal, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._spinning.start()

    def __enter__(self) -> DreamVLA:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel a goal still running, wait a moment for its end, and leave the graph."""
        try:
            if self._spinning.alive and not self.is_done():
                self.cancel()
                self.wait(timeout_s=5.0)
        finally:
            self._spinning.close()

    def wait_until_ready(self, timeout_s: float = 30.0, *, controller: bool = True) -> None:
        """Wait until the policy takes goals and, unless told otherwise, the controller runs.

        :param timeout_s: Longest time to wait.
        :param controller: Whether a controller is needed; without one nothing would move.
        :raises NotReadyError: Naming what is missing and what to start.
        """
        self._require_alive()
        deadline = time.monotonic() + timeout_s
        while missing := self._missing(controller):
            if time.monotonic() >= deadline:
                raise NotReadyError(f"not ready after {timeout_s:g} s: " + "; ".join(missing))
            self._require_alive()
            time.sleep(0.05)

    def do(
        self,
        instruction: str,
        *,
        time_limit_s: float = 0.0,
        success_question: str = "",
        on_feedback: Callable[[Feedback], None] | None = None,
        ready_timeout_s: float = 30.0,
    ) -> Result:
        """Carry out an instruction and return how it ended.

        An interruption (Ctrl-C) cancels the goal, waits for its end and goes on to the caller; :attr:`result`
        then holds the outcome.

        :param instruction: What to do, in words.
        :param time_limit_s: Longest time it may take; zero takes the policy's default.
        :param success_question: Yes/no question whose repeated yes ends the goal; needs a planner.
        :param on_feedback: Called in the caller's thread with each piece of news.
        :param ready_timeout_s: How long to wait for policy and controller.
        :raises NotReadyError: Naming what is missing and what to start.
        """
        seen = 0
        try:
            goal = self._send(instruction, time_limit_s, success_question, ready_timeout_s, _ACCEPT_TIMEOUT_S)
            while True:
                result = goal.result
                fresh, seen = goal.news != seen, goal.news
                if fresh and goal.feedback is not None and on_feedback is not None:
                    on_feedback(goal.feedback)
                if result is not None:
                    return result
                self._pause(goal, seen)
        except BaseException:
            if self._spinning.alive:
                self.cancel()
                self.wait(timeout_s=5.0)
            raise

    def send(
        self,
        instruction: str,
        *,
        time_limit_s: float = 0.0,
        success_question: str = "",
        ready_timeout_s: float = 30.0,
        accept_timeout_s: float = _ACCEPT_TIMEOUT_S,
    ) -> None:
        """Send an instruction and return once the policy has taken it.

        A goal refused for what it asks ends with :attr:`Outcome.REFUSED` and the reason.

        :param instruction: What to do, in words.
        :param time_limit_s: Longest time it may take; zero takes the policy's default.
        :param success_question: Yes/no question whose repeated yes ends the goal; needs a planner.
        :param ready_timeout_s: How long to wait for policy and controller.
        :param accept_timeout_s: How long the policy may take to accept.
        :raises NotReadyError: If something is missing, or the policy does not answer.
        :raises ValueError: If the time limit is negative or not finite.
        """
        self._send(instruction, time_limit_s, success_question, ready_timeout_s, accept_timeout_s)

    def _send(
        self,
        instruction: str,
        time_limit_s: float,
        success_question: str,
        ready_timeout_s: float,
        accept_timeout_s: float,
    ) -> SentGoal:
        if not (math.isfinite(time_limit_s) and time_limit_s >= 0.0):
            raise ValueError(f"time_limit_s is {time_limit_s}, not a length of time")
        self.wait_until_ready(ready_timeout_s)
        request = ExecuteInstruction.Goal(instruction=instruction, success_question=success_question)
        request.time_limit = duration_to_msg(time_limit_s)
        goal = SentGoal(uuid.uuid4().bytes, time_limit_s)
        with self._changed:
            self._goal = goal

        def begin() -> None:
            future = self._action.send_goal_async(
                request,
                feedback_callback=lambda message: self._on_feedback(goal, message.feedback),
                goal_uuid=uuid_to_msg(goal.goal_id),
            )
            future.add_done_callback(lambda done: self._on_response(goal, done.result()))

        self._spinning.call(begin)
        try:
            with self._changed:
                answered = self._changed.wait_for(
                    lambda: goal.accepted_at is not None or goal.result is not None, timeout=accept_timeout_s
                )
        except BaseException:
            self.cancel()
            raise
        if not answered:
            self.cancel()
            message = (
                f"the policy did not answer on '{self._action_name}' within "
                f"{accept_timeout_s:g} s; look at its log, restart it and send the goal again"
            )
            self._finish(goal, Result(Outcome.POLICY_LOST, message))
            raise NotReadyError(message)
        return goal

    def is_done(self) -> bool:
        """Tell whether no goal is running."""
        with self._changed:
            return self._goal is None or self._goal.result is not None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the goal to end.

        :param timeout_s: Longest time to wait; None waits as long as it takes.
        :returns: Whether no goal is running any more.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while not self.is_done() and time.monotonic() < deadline:
            goal = self._goal
            if goal is not None:
                self._pause(goal, goal.news)
        return self.is_done()

    @property
    def goal_id(self) -> bytes:
        """Id of the goal sent last, 16 bytes as in its chunks; empty when none was sent."""
        with self._changed:
            return self._goal.goal_id if self._goal else b""

    @property
    def feedback(self) -> Feedback | None:
        """Newest feedback of the goal sent last; None when none came yet."""
        with self._changed:
            return self._goal.feedback if self._goal else None

    @property
    def result(self) -> Result | None:
        """How the goal sent last ended; None when none was sent or it still runs."""
        with self._changed:
            return self._goal.result if self._goal else None

    def cancel(self) -> None:
        """Ask the policy to end the running goal; :meth:`wait` then waits for its end."""
        with self._changed:
            goal = self._goal
            if goal is None or goal.result is not None:
                return
            # A goal that is not accepted yet is cancelled as soon as it is.
            goal.cancel_requested = True
            handle = goal.handle
        if handle is not None:
            self._spinning.call(handle.cancel_goal_async)

    def stop(self, timeout_s: float = 5.0) -> str:
        """Press the emergency stop: the arm holds and every goal ends; latched until :meth:`resume`.

        :returns: What the controller says.
        :raises NotReadyError: If no controller is running.
        :raises CommandFailedError: If the controller refuses.
        """
        return self._trigger(self._stop_service, timeout_s)

    def resume(self, timeout_s: float = 5.0) -> str:
        """Release the emergency stop; nothing moves until a new goal is sent.

        :returns: What the controller says.
        :raises NotReadyError: If no controller is running.
        :raises CommandFailedError: If the controller refuses.
        """
        return self._trigger(self._resume_service, timeout_s)

    @property
    def controller_state(self) -> ControllerState | None:
        """Newest state of the controller; None when none was received."""
        with self._changed:
            return self._controller_state

    @property
    def policy_state(self) -> str:
        """The policy's life cycle at the last look of :meth:`wait_until_ready`; empty when it has none."""
        return self._readiness.lifecycle_state

    def wait_until_still(self, timeout_s: float = 5.0) -> bool:
        """Wait until the controller commands no motion.

        :param timeout_s: Longest time to wait.
        :returns: Whether the arm is held.
        """
        asked_at = time.monotonic()

        def still() -> bool:
            state = self._controller_state
            return state is not None and self._controller_state_at > asked_at and is_still(state)

        with self._changed:
            return self._changed.wait_for(still, timeout_s)

    def _pause(self, goal: SentGoal, seen: int) -> None:
        # Bounded, so that a deadline or a closed client is noticed without news.
        self._require_alive()
        with self._changed:
            self._changed.wait_for(lambda: goal.news != seen, timeout=WATCH_PERIOD_S)

    def _require_alive(self) -> None:
        if not self._spinning.alive:
            raise RuntimeError("this client is closed; make a new DreamVLA()")

    def _missing(self, controller: bool) -> list[str]:
        now = time.monotonic()
        policy = self._readiness.missing(heard=self._watch.silent_s(now) < self._lost_after_s)
        missing = [policy] if policy else []
        if controller and now - self._controller_state_at > self._lost_after_s:
            missing.append(f"nothing on '{self._state.topic_name}' ({CONTROLLER_HINT})")
        return missing

    def _trigger(self, service: Client, timeout_s: float) -> str:
        response = self._spinning.call_service(service, Trigger.Request(), timeout_s, owner=CONTROLLER_HINT)
        if not response.success:
            raise CommandFailedError(f"'{service.service_name}': {response.message}")
        return response.message

    def _on_heartbeat(self, message: ActiveGoal) -> None:
        with self._changed:
            self._watch.heartbeat(time.monotonic())
            goal = self._goal
            if goal is not None and message.active and uuid_from_msg(message.goal_id) == goal.goal_id:
                goal.last_named_at = time.monotonic()
            self._changed.notify_all()

    def _on_controller_state(self, message: ControllerState) -> None:
        with self._changed:
            self._controller_state, self._controller_state_at = message, time.monotonic()
            self._changed.notify_all()

    def _on_feedback(self, goal: SentGoal, message: ExecuteInstruction.Feedback) -> None:
        with self._changed:
            goal.feedback = feedback_from_message(message)
            goal.news += 1
            goal.last_named_at = time.monotonic()
            self._changed.notify_all()

    def _on_response(self, goal: SentGoal, handle: Any) -> None:
        if not handle.accepted:
            self._finish(goal, Result(Outcome.REFUSED, "the policy rejected the goal; its log says why"))
            return
        handle.get_result_async().add_done_callback(
            lambda done: self._finish(goal, result_from_message(done.result().result, done.result().status))
        )
        with self._changed:
            goal.handle = handle
            goal.accepted_at = goal.last_named_at = time.monotonic()
            abandoned = goal.cancel_requested
            self._changed.notify_all()
        if abandoned:
            handle.cancel_goal_async()

    def _finish(self, goal: SentGoal, result: Result) -> None:
        with self._changed:
            if goal.result is None:
                goal.result = result
                goal.news += 1
            self._changed.notify_all()

    def _watch_goal(self) -> None:
        now = time.monotonic()
        with self._changed:
            self._watch.tick(now)
            goal = self._goal
            reason = self._watch.why_lost(goal, now) if goal is not None else ""
        if goal is not None and reason:
            last = goal.feedback
            duration_s = now - (goal.accepted_at or now)
            chunks, pose = (last.chunks, last.pose) if last else (0, None)
            self._finish(goal, Result(Outcome.POLICY_LOST, reason, duration_s, chunks, pose))
