"""The planner node: answers questions about what the cameras see, plans tasks, and carries them out.

A Dream-VL checkpoint answers and plans; with ``answers: oracle`` the simulation's own state does, to try
everything else. Each symbolic action becomes one language instruction for the policy, and looking at the
scene afterwards says whether it worked.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Sequence
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

from dream_vla_msgs.action import ExecuteTask, PlanTask
from dream_vla_ros.nodes.managed_node import ManagedNode, serve_managed
from dream_vla_ros.nodes.parameters import declare, declare_embodiment
from dream_vla_ros.nodes.planner.arm import PolicyArm
from dream_vla_ros.nodes.planner.engine import PlannerEngine, PlanResult
from dream_vla_ros.nodes.planner.goal import TaskRun
from dream_vla_ros.nodes.planner.messages import (
    plan_feedback,
    plan_result_to_msg,
    request_from_msg,
    task_feedback,
    task_result_to_msg,
)
from dream_vla_ros.nodes.planner.mind import DreamVlMind, Mind, OracleMind
from dream_vla_ros.nodes.planner.model_settings import DreamVlSettings
from dream_vla_ros.nodes.planner.parameters import Answers, PlannerParameters
from dream_vla_ros.nodes.planner.questions import Answering, QuestionService
from dream_vla_ros.nodes.planner.senses import CameraSenses, Senses, TableSenses
from dream_vla_ros.nodes.planner.server import Outcome, TaskServer
from dream_vla_ros.nodes.policy.parameters import ParameterGuard
from dream_vla_ros.nodes.serving import run_node
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.planning.interfaces import Execution
from dream_vla_ros.planning.outcomes import TaskCode, TaskResult

_LATCHED_QOS = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_SHUTDOWN_S = 3.0
# The policy may take this long to end an instruction that the task left behind.
_END_S = 8.0


class PlannerNode(ManagedNode):
    """Grounds, plans and carries out tasks.

    :raises ParameterError: If a parameter is missing or wrong.
    """

    def __init__(self) -> None:
        super().__init__("planner")
        self.embodiment = declare_embodiment(self)
        guard = ParameterGuard(self)
        for cls in (PlannerParameters, DreamVlSettings):
            declare(self, cls)
            guard.guard(cls)
        self._mind: Mind | None = None
        self._engine: PlannerEngine | None = None
        self._senses: Senses | None = None
        self._table: TableSenses | None = None
        self._states: StateSource | None = None
        self._arm: PolicyArm | None = None
        self._servers: list[TaskServer] = []
        self._current: TaskRun | None = None
        self._emergency = False
        self._stop: Any = None
        self._questions = QuestionService(self, self._answering)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return self._planner_parameters().autostart

    @property
    def idle(self) -> bool:
        """Whether every goal has its outcome sent."""
        return all(server.idle for server in self._servers)

    def configure(self) -> None:
        """Load the model, and serve the actions from now on."""
        if self._planner_parameters().answers is Answers.DREAM_VL:
            # Takes seconds to import, in which the node is already there and tells its state.
            from dream_vla_ros.nodes.planner.model import DreamVlModel

            settings = declare(self, DreamVlSettings)
            self.get_logger().info(f"loading '{settings.checkpoint}'")
            model = DreamVlModel.load(settings, self.embodiment)
            self._mind = DreamVlMind(model, constrained=settings.constrained)
        else:
            # Its libraries take seconds to import, too; not in the executor's thread.
            importlib.import_module("dream_vla_ros.nodes.policy.expert_node")
            self._mind = OracleMind(_Delayed(self))
        if not self._servers:
            self._servers = self.in_executor(self._serve)
        for note in self._mind.notes:
            self.get_logger().info(note)

    def activate(self) -> None:
        """Begin to look, and take goals."""
        assert self._mind is not None
        self._senses = self.in_executor(self._subscribe)
        self._arm = PolicyArm(self)
        self._engine = PlannerEngine(
            self._mind,
            self._senses,
            self._planner_parameters,
            lambda: self.get_clock().now().nanoseconds,
            self.embodiment.timing.input_timeout,
        )

    def deactivate(self) -> None:
        """End the task, stop the arm and stop looking."""
        self.end_task()
        deadline = time.monotonic() + _END_S
        while self._current is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        self._engine = None
        arm, self._arm = self._arm, None
        if arm is not None:
            arm.close()
        self.in_executor(self._unsubscribe)

    def cleanup(self) -> None:
        """Free the model."""
        mind, self._mind = self._mind, None
        if mind is not None:
            mind.close()

    def end_task(self) -> None:
        """End the task that is being carried out, if any, because the node is to stop."""
        for server in self._servers:
            server.interrupt_all(TaskCode.SHUTDOWN, "the planner node was deactivated or shut down")

    def true_state(self) -> TableSenses:
        """Return the simulation's state, for the oracle."""
        assert self._table is not None
        return self._table

    def _subscribe(self) -> Senses:
        self._emergency = False
        self._stop = self.create_subscription(Bool, "emergency_stop", self._on_emergency_stop, _LATCHED_QOS)
        assert self._mind is not None
        seeing = self._planner_parameters().answers is Answers.DREAM_VL
        if self._states is None and (not seeing or self._mind.reads_state):
            # Kept from then on: it has no end.
            self._states = StateSource(self, self.embodiment)
        if seeing:
            states = self._states if self._mind.reads_state else None
            return CameraSenses(self, self.embodiment, self._planner_parameters().cameras, states)
        assert self._states is not None
        self._table = TableSenses(self, self.embodiment, self._states)
        return self._table

    def _unsubscribe(self) -> None:
        if self._stop is not None:
            self.destroy_subscription(self._stop)
            self._stop = None
        if self._senses is not None:
            self._senses.destroy()
            self._senses = None

    def _serve(self) -> list[TaskServer]:
        def refused_task(code: TaskCode, message: str, elapsed_s: float) -> Outcome:
            self.get_logger().warning(f"task refused: {message}")
            return Outcome(task_result_to_msg(TaskResult(code, message), elapsed_s), False)

        def refused_plan(code: TaskCode, message: str, elapsed_s: float) -> Outcome:
            return Outcome(plan_result_to_msg(PlanResult(code, message), elapsed_s), False)

        return [
            TaskServer(
                self,
                ExecuteTask,
                "execute_task",
                begin=self._begin,
                work=self._carry_out,
                refuse=refused_task,
                feedback=lambda run, progress: task_feedback(
                    progress, run.elapsed_s, waiting=bool(run.waiting_for)
                ),
            ),
            TaskServer(
                self,
                PlanTask,
                "plan_task",
                begin=self._begin,
                work=self._plan,
                refuse=refused_plan,
                feedback=lambda run, progress: plan_feedback(
                    progress, run.elapsed_s, waiting=bool(run.waiting_for)
                ),
            ),
        ]

    def _begin(self, goal: ExecuteTask.Goal | PlanTask.Goal) -> TaskRun | tuple[TaskCode, str]:
        """Take a goal, or say why it ends at once; runs in the executor."""
        if self.lifecycle_state != "active" or self._engine is None:
            return (
                TaskCode.REFUSED,
                f"the planner node is {self.lifecycle_state}, not active; activate it first",
            )
        try:
            request = request_from_msg(goal)
        except ValueError as error:
            return TaskCode.REFUSED, str(error)
        if self._current is not None:
            return (
                TaskCode.REFUSED,
                f"busy with '{self._current.request.words}'; cancel that or wait for its end",
            )
        if self._emergency and isinstance(goal, ExecuteTask.Goal):
            return TaskCode.EMERGENCY_STOP, "the emergency stop is pressed; resume before sending a task"
        self._current = run = TaskRun(request)
        self.get_logger().info(f"task '{request.words}' begins")
        return run

    def _carry_out(self, run: TaskRun, report: Any) -> Outcome:
        engine, arm = self._engine, self._arm
        assert engine is not None
        assert arm is not None

        def carry_out(
            instruction: str, question: str, limit_s: float, patience_s: float, of: TaskRun
        ) -> Execution:
            self.get_logger().info(f"action: {instruction}")
            return arm.carry_out(instruction, question, time_limit_s=limit_s, patience_s=patience_s, run=of)

        try:
            result = engine.execute(run, carry_out, report)
        finally:
            run.end()
            self._current = None
        self._log_end(run, result.code, result.message, len(result.actions))
        return Outcome(task_result_to_msg(result, run.elapsed_s), result.code is TaskCode.GOAL_REACHED)

    def _plan(self, run: TaskRun, report: Any) -> Outcome:
        assert self._engine is not None
        try:
            result = self._engine.plan(run, report)
        finally:
            run.end()
            self._current = None
        self._log_end(run, result.code, result.message, len(result.plan))
        return Outcome(plan_result_to_msg(result, run.elapsed_s), result.code is TaskCode.GOAL_REACHED)

    def _log_end(self, run: TaskRun, code: TaskCode, message: str, actions: int) -> None:
        words = code.name.lower().replace("_", " ")
        self.get_logger().info(
            f"task '{run.request.words}' ended after {run.elapsed_s:.1f} s and {actions} actions: {words}"
            + (f": {message}" if message else "")
        )

    def _answering(self) -> Answering | None:
        engine = self._engine
        return engine.answer if engine is not None and self.lifecycle_state == "active" else None

    def _on_emergency_stop(self, message: Bool) -> None:
        self._emergency = message.data
        run = self._current
        if message.data and run is not None:
            run.interrupt(TaskCode.EMERGENCY_STOP, "the emergency stop was pressed")

    def _planner_parameters(self) -> PlannerParameters:
        return declare(self, PlannerParameters)


def _serve(node: PlannerNode, ending: threading.Event) -> int:
    return serve_managed(node, ending, end=node.end_task, shutdown_s=_SHUTDOWN_S)


class _Delayed:
    """The simulation's state, from a subscription that is made only when the node is active."""

    def __init__(self, node: PlannerNode) -> None:
        self._node = node

    @property
    def state(self) -> Any:
        """The atoms that were true at the last look."""
        return self._node.true_state().state


def main(args: Sequence[str] | None = None) -> int:
    """Run the planner node until SIGINT or SIGTERM.

    :returns: Exit code: 0 when told to end, 2 for wrong parameters.
    """
    return run_node("planner", PlannerNode, _serve, args)


if __name__ == "__main__":
    raise SystemExit(main())
