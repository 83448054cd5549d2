"""One gripper behind an action, or several: told at changes only, and one goal at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from dream_vla_ros.control import Command
from dream_vla_ros.nodes.adapters.adapter import AdapterError

_PERIOD_S = 0.05
# Smaller changes of the opening are not worth a new motion, which takes a second or so.
_SMALLEST_CHANGE = 0.05
# A goal that is not answered by then is given up; a slow gripper takes three seconds from end to end.
_ANSWER_TIMEOUT_S = 3.0
_RESULT_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class GripperGoal:
    """What to ask of which action.

    :param client: Of the action.
    :param goal: Its goal message.
    :param words: What it does, for the log.
    """

    client: ActionClient
    goal: Any
    words: str


class GripperActions:
    """Turns openings into goals, in the node's executor; the control loop only says what it wants.

    A new opening cancels the goal that runs and is sent when that has ended, since some drivers do two
    at once badly. What fails is logged and not tried again before the next change.

    :param node: Node whose executor runs the actions.
    :param plan: Returns the goal for an opening.
    :param judge: Returns why a result is a failure; empty where it is none.
    """

    def __init__(
        self,
        node: Node,
        plan: Callable[[float], GripperGoal],
        judge: Callable[[Any], str],
    ) -> None:
        self._node, self._plan, self._judge = node, plan, judge
        self._lock = threading.Lock()
        self._wanted: float | None = None
        self._told: float | None = None
        self._running: _Run | None = None
        self._missing = ""
        node.create_timer(_PERIOD_S, self._advance, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def send(self, command: Command) -> None:
        """Take note of the opening.

        :raises AdapterError: If an opening is due and the action has no server.
        """
        if not command.send or command.gripper is None:
            return
        with self._lock:
            self._wanted = command.gripper
            missing = self._missing
        if missing:
            raise AdapterError(missing)

    def close(self) -> None:
        """Let a motion that runs come to its end: a gripper that holds something must not let go."""

    def _advance(self) -> None:
        with self._lock:
            wanted = self._wanted
        if wanted is None:
            return
        changed = self._told is None or abs(wanted - self._told) >= _SMALLEST_CHANGE
        run = self._running
        if run is not None:
            if not run.look(cancel=changed):
                return
            if run.problem:
                self._node.get_logger().warning(run.problem)
            self._running = None
        if changed:
            self._begin(wanted)

    def _begin(self, wanted: float) -> None:
        planned = self._plan(wanted)
        missing = ""
        if not planned.client.server_is_ready():
            missing = f"no action server for {action_name(planned.client)}: start the gripper's driver"
        with self._lock:
            self._missing = missing
        if missing:
            return
        self._node.get_logger().info(f"gripper: {planned.words}")
        self._told = wanted
        self._running = _Run(planned, self._judge)


class _Run:
    """One goal, from sending to its end."""

    def __init__(self, planned: GripperGoal, judge: Callable[[Any], str]) -> None:
        self._planned, self._judge = planned, judge
        self._began_s = time.monotonic()
        self._response = planned.client.send_goal_async(planned.goal)
        self._result: Any = None
        self._cancelled = False
        self.problem = ""

    def look(self, cancel: bool) -> bool:
        """Go on; say whether it ended.

        :param cancel: Whether something else is wanted meanwhile.
        """
        elapsed_s = time.monotonic() - self._began_s
        if self._result is None:
            if not self._response.done():
                return self._is_over(elapsed_s > _ANSWER_TIMEOUT_S, "is not answered")
            handle = self._response.result()
            if handle is None or not handle.accepted:
                return self._is_over(True, "is refused")
            self._handle = handle
            self._result = handle.get_result_async()
        if cancel and not self._cancelled:
            self._cancelled = True
            self._handle.cancel_goal_async()
        if not self._result.done():
            return self._is_over(elapsed_s > _RESULT_TIMEOUT_S, "does not end")
        if not self._cancelled:
            failure = self._judge(self._result.result().result)
            self.problem = f"{self._name()} failed: {failure}" if failure else ""
        return True

    def _is_over(self, over: bool, why: str) -> bool:
        if over:
            self.problem = f"{self._name()} {why}"
        return over

    def _name(self) -> str:
        return f"gripper goal '{self._planned.words}' on {action_name(self._planned.client)}"


def action_name(client: ActionClient) -> str:
    """Return the name of a client's action as it was given."""
    return str(client._action_name)
