"""An action server of the planner node: each goal is worked on in a thread of its own."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from dream_vla_ros.nodes.conversions import uuid_from_msg
from dream_vla_ros.nodes.planner.goal import TaskRequest, TaskRun
from dream_vla_ros.planning.outcomes import Progress, TaskCode

# A client that shows elapsed time wants news this often; changes are told at once.
_NEWS_PERIOD_S = 0.5


@dataclass(frozen=True)
class Outcome:
    """What a goal is answered with.

    :param result: The action's result message.
    :param reached: Whether it counts as a success.
    """

    result: Any
    reached: bool


@dataclass(eq=False)
class Entry:
    """A goal that is being worked on."""

    run: TaskRun
    handle: ServerGoalHandle
    ended: Future
    progress: Progress | None = None
    outcome: Outcome | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class TaskServer:
    """Serves one of the planner's actions; every goal is accepted and ends with an outcome and a reason.

    :param node: Node that serves; its executor must have one thread.
    :param begin: Makes a run of a goal message, or says why it ends at once: a code and a reason.
    :param work: Does a run to its end and returns what to answer; called in a thread of its own.
    :param refuse: Makes an answer of a code and a reason.
    :param feedback: Makes a feedback message of a run and its progress.
    """

    def __init__(
        self,
        node: Node,
        action: type,
        name: str,
        *,
        begin: Callable[[Any], TaskRun | tuple[TaskCode, str]],
        work: Callable[[TaskRun, Callable[[Progress], None]], Outcome],
        refuse: Callable[[TaskCode, str, float], Outcome],
        feedback: Callable[[TaskRun, Progress | None], Any],
    ) -> None:
        self._node = node
        self._begin = begin
        self._work = work
        self._refuse = refuse
        self._feedback = feedback
        self._lock = threading.Lock()
        self._entries: dict[bytes, Entry] = {}
        self._server = ActionServer(
            node,
            action,
            name,
            execute_callback=self._execute,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
        )
        node.create_timer(_NEWS_PERIOD_S, self._tell_all, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def idle(self) -> bool:
        """Whether every goal has its outcome sent."""
        with self._lock:
            return not self._entries

    def interrupt_all(self, code: TaskCode, message: str) -> None:
        """End every goal that is being worked on."""
        with self._lock:
            entries = list(self._entries.values())
        for entry in entries:
            entry.run.interrupt(code, message)

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        begun = self._begin(handle.request)
        run = begun if isinstance(begun, TaskRun) else None
        entry = Entry(run or _no_run(), handle, Future(executor=self._node.executor))
        with self._lock:
            self._entries[uuid_from_msg(handle.goal_id)] = entry
        if run is None:
            assert isinstance(begun, tuple)
            self._finish(entry, self._refuse(*begun, 0.0))
        else:
            threading.Thread(target=self._do, args=(entry,), name="task", daemon=True).start()
        handle.execute()

    def _do(self, entry: Entry) -> None:
        def report(progress: Progress) -> None:
            entry.progress = progress
            if self._node.executor is not None:
                self._node.executor.create_task(self._tell, entry, progress)

        try:
            outcome = self._work(entry.run, report)
        except Exception as error:
            self._node.get_logger().error(f"a task failed:\n{traceback.format_exc()}")
            message = f"the planner failed, its log says more: {type(error).__name__}: {error}"
            outcome = self._refuse(TaskCode.EXECUTION_FAULT, message, entry.run.elapsed_s)
        self._finish(entry, outcome)

    def _finish(self, entry: Entry, outcome: Outcome) -> None:
        entry.outcome = outcome
        entry.ended.set_result(None)
        if self._node.executor is not None:
            self._node.executor.wake()

    def _tell_all(self) -> None:
        with self._lock:
            entries = list(self._entries.values())
        for entry in entries:
            if entry.outcome is None:
                self._tell(entry, entry.progress)

    def _tell(self, entry: Entry, progress: Progress | None) -> None:
        # Each change is told as it was: when this runs, the task may be two changes on.
        if entry.handle.is_active:
            entry.handle.publish_feedback(self._feedback(entry.run, progress))

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        with self._lock:
            entry = self._entries.get(uuid_from_msg(handle.goal_id))
        if entry is None:
            return CancelResponse.REJECT
        entry.run.interrupt(TaskCode.CANCELED, "canceled by the client")
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> Any:
        goal_id = uuid_from_msg(handle.goal_id)
        with self._lock:
            entry = self._entries[goal_id]
        await entry.ended
        assert entry.outcome is not None
        if entry.outcome.reached:
            handle.succeed()
        elif entry.run.canceled and handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        with self._lock:
            del self._entries[goal_id]
        return entry.outcome.result


def _no_run() -> TaskRun:
    return TaskRun(TaskRequest("", (), "", None))
