"""The robot as planning sees it: something that can be looked at and acted in."""

from __future__ import annotations

import time
from collections.abc import Callable

from dream_vla_ros.nodes.planner.goal import TaskRun, Thinking
from dream_vla_ros.nodes.planner.senses import Senses
from dream_vla_ros.planning.interfaces import Execution, Observation
from dream_vla_ros.planning.outcomes import TaskCode, TaskInterrupted
from dream_vla_ros.planning.terms import GroundAction
from dream_vla_ros.policy.frames import MissingInputError

_POLL_S = 0.02

Act = Callable[[GroundAction, str], Execution]


class RobotWorld:
    """The :class:`~dream_vla_ros.planning.interfaces.Environment` of one task.

    Others may think while it waits.

    :param senses: Look.
    :param act: Carries out an action by its instruction; may raise TaskInterrupted.
    :param now_ns: Returns the ROS time.
    :param patience_s: How long images may be missing.
    """

    def __init__(
        self,
        run: TaskRun,
        thinking: Thinking,
        senses: Senses,
        act: Act,
        now_ns: Callable[[], int],
        patience_s: float,
    ) -> None:
        self._run = run
        self._thinking = thinking
        self._senses = senses
        self._act = act
        self._now_ns = now_ns
        self._patience_s = patience_s
        self._acted_ns = 0

    def observe(self) -> Observation:
        """Look; what is returned was captured after the last action ended.

        :raises TaskInterrupted: If images are missing for too long, or the task has to end.
        """
        self._run.check()
        try:
            return self._senses.look(self._acted_ns)
        except MissingInputError:
            self._thinking.aside(self._await_sight)
        return self._look_again()

    def execute(self, action: GroundAction, instruction: str) -> Execution:
        """Have an action carried out.

        :raises TaskInterrupted: If the task has to end.
        """
        self._run.check()
        executions: list[Execution] = []
        try:
            self._thinking.aside(lambda: executions.append(self._act(action, instruction)))
        finally:
            self._acted_ns = self._now_ns()
        return executions[0]

    def _await_sight(self) -> None:
        deadline = time.monotonic() + self._patience_s
        try:
            while True:
                self._run.check()
                try:
                    self._senses.look(self._acted_ns)
                    return
                except MissingInputError as error:
                    self._run.waiting_for = str(error)
                    if time.monotonic() >= deadline:
                        raise TaskInterrupted(
                            TaskCode.STALE_INPUT, f"nothing to look at for {self._patience_s:g} s: {error}"
                        ) from error
                self._run.interrupted.wait(_POLL_S)
        finally:
            self._run.waiting_for = ""

    def _look_again(self) -> Observation:
        try:
            return self._senses.look(self._acted_ns)
        except MissingInputError as error:
            raise TaskInterrupted(TaskCode.STALE_INPUT, str(error)) from error
