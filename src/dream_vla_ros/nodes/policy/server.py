"""The action server of the policy node: goals in, feedback and outcomes out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from dream_vla_msgs.action import ExecuteInstruction
from dream_vla_msgs.msg import InstructionOutcome
from dream_vla_ros.nodes.conversions import duration_from_msg, duration_to_msg, pose_stamped, uuid_from_msg
from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.nodes.policy.goal import GoalRequest, GoalRun
from dream_vla_ros.robot_state import RobotState

_SUCCESSES = (Outcome.SUCCEEDED, Outcome.SETTLED)


@dataclass(eq=False)
class _Entry:
    run: GoalRun
    handle: ServerGoalHandle
    ended: Future


class InstructionServer:
    """Serves ``execute_instruction``; every goal is accepted and ends with an outcome and a reason.

    A rejected goal would carry no reason, so one that cannot be carried out ends at once.

    :param node: Node that serves; its executor must have one thread.
    :param base_frame: Frame of the poses in feedback and result.
    :param begin: Called with each new goal; returns an outcome where it ends at once, or None.
    :param on_end: Called once for each goal when its outcome is known, in any thread.
    :param newest_state: Returns the newest state of the arm, or None.
    """

    def __init__(
        self,
        node: Node,
        base_frame: str,
        begin: Callable[[GoalRun], tuple[Outcome, str] | None],
        on_end: Callable[[GoalRun], None],
        newest_state: Callable[[], RobotState | None],
    ) -> None:
        self._node = node
        self._base_frame = base_frame
        self._begin = begin
        self._on_end = on_end
        self._newest_state = newest_state
        self._lock = threading.Lock()
        self._entries: dict[bytes, _Entry] = {}
        self._server = ActionServer(
            node,
            ExecuteInstruction,
            "execute_instruction",
            execute_callback=self._execute,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
        )

    @property
    def idle(self) -> bool:
        """Whether every goal has its outcome sent."""
        with self._lock:
            return not self._entries

    def send_feedback(self, run: GoalRun) -> None:
        """Tell the client how a goal goes."""
        entry = self._entry(run.request.goal_id)
        if entry is None:
            return
        progress, message = run.progress()
        feedback = ExecuteInstruction.Feedback(
            state=int(progress),
            message=message,
            elapsed=duration_to_msg(run.elapsed_s),
            chunks=run.chunks,
            latency=duration_to_msg(run.latency_s),
            success_probability=run.success_probability,
        )
        state = self._newest_state()
        if state is not None:
            feedback.pose = pose_stamped(state.pose, state.stamp_ns, self._base_frame)
        entry.handle.publish_feedback(feedback)

    def _entry(self, goal_id: bytes) -> _Entry | None:
        with self._lock:
            return self._entries.get(goal_id)

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        asked = handle.request
        request = GoalRequest(
            goal_id=uuid_from_msg(handle.goal_id),
            instruction=asked.instruction,
            success_question=asked.success_question,
            time_limit_s=duration_from_msg(asked.time_limit),
            accepted_ros_ns=self._node.get_clock().now().nanoseconds,
            accepted_steady_ns=time.monotonic_ns(),
        )
        run = GoalRun(request, self._ended)
        entry = _Entry(run, handle, Future(executor=self._node.executor))
        with self._lock:
            self._entries[request.goal_id] = entry
        refusal = self._begin(run)
        if refusal is not None:
            run.end(*refusal)
        handle.execute()

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        entry = self._entry(uuid_from_msg(handle.goal_id))
        if entry is None:
            return CancelResponse.REJECT
        entry.run.end(Outcome.CANCELED, "canceled by the client")
        return CancelResponse.ACCEPT

    def _ended(self, run: GoalRun) -> None:
        # Whoever must stop the arm is told before the client learns that the goal has ended.
        self._on_end(run)
        entry = self._entry(run.request.goal_id)
        if entry is not None:
            entry.ended.set_result(None)
            if self._node.executor is not None:
                self._node.executor.wake()

    async def _execute(self, handle: ServerGoalHandle) -> ExecuteInstruction.Result:
        goal_id = uuid_from_msg(handle.goal_id)
        entry = self._entry(goal_id)
        assert entry is not None
        await entry.ended
        run = entry.run
        assert run.outcome is not None
        outcome, message = run.outcome
        if outcome in _SUCCESSES:
            handle.succeed()
        elif outcome is Outcome.CANCELED and handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        result = ExecuteInstruction.Result(
            outcome=InstructionOutcome(code=int(outcome), message=message),
            duration=duration_to_msg(run.elapsed_s),
            chunks=run.chunks,
        )
        state = self._newest_state()
        if state is not None:
            result.final_pose = pose_stamped(state.pose, state.stamp_ns, self._base_frame)
        with self._lock:
            del self._entries[goal_id]
        return result
