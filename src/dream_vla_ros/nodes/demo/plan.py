"""Carry out the demo's tasks of several steps through the planner's action, and note each step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.conversions import duration_from_msg
from dream_vla_ros.nodes.demo.monitor import DemoMonitor
from dream_vla_ros.nodes.demo.plan_report import TaskReport, TaskReports
from dream_vla_ros.nodes.demo.plan_steps import InstructionSteps
from dream_vla_ros.nodes.demo.processes import ProcessGroup
from dream_vla_ros.nodes.demo.run import DemoError, DemoRun, GoalReport
from dream_vla_ros.nodes.planner.client import PlannerClient
from dream_vla_ros.nodes.planner.parameters import Mode
from dream_vla_ros.nodes.policy.expert_node import SceneObserver
from dream_vla_ros.nodes.spinning_node import NotReadyError
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.planning.outcomes import TaskCode
from dream_vla_ros.planning.terms import State
from dream_vla_ros.policy.frames import MissingInputError
from dream_vla_ros.report.recording import Recording
from dream_vla_ros.report.video import TAIL_S
from dream_vla_ros.sim.symbols import UnknownTaskError, goal_in_words, symbols

# Lays the four standard blocks out side by side.
_ANY_TASK = "pick up the red block"
_READY_S = 120.0
_TRUTH_S = 3.0


class PlanDemo:
    """Sends tasks to the planner and watches over them.

    :param run: The graph; lays the table out.
    :param show: Called with a line of news.
    """

    def __init__(
        self,
        run: DemoRun,
        monitor: DemoMonitor,
        recording: Recording,
        processes: ProcessGroup,
        embodiment: Embodiment,
        show: Callable[[str], None],
    ) -> None:
        self._run = run
        self._monitor = monitor
        self._recording = recording
        self._processes = processes
        self._show = show
        node = monitor.spinning.node
        self._truth = monitor.spinning.call(
            lambda: SceneObserver(node, embodiment, StateSource(node, embodiment), lambda: None)
        )
        self.reports = TaskReports()

    def carry_out(
        self, task: str, mode: Mode, *, seed: int, time_limit_s: float, planner: PlannerClient
    ) -> list[GoalReport]:
        """Lay the table out, send a task and wait for its end.

        :param seed: Of the layout.
        :param time_limit_s: Longest time of one instruction.
        :returns: What came of each instruction.
        :raises DemoError: If there is no planner.
        """
        self._run.lay_out(_ANY_TASK, seed)
        steps = InstructionSteps(self._monitor, self._recording, self._show)

        def watch(feedback: Any) -> None:
            self._processes.check()
            steps.see(feedback)

        try:
            result = planner.execute(
                task,
                _predicates(task) if mode is Mode.GROUNDER else (),
                mode=mode,
                instruction_time_limit_s=time_limit_s,
                on_feedback=watch,
                timeout_s=_READY_S,
            )
        except NotReadyError as error:
            raise DemoError(f"{error}; the end of its log:\n{self._processes.last_words()}") from error
        steps.finish(result.actions)
        self._run.pause(TAIL_S)
        self.reports.tasks.append(
            TaskReport(
                task,
                mode.value,
                TaskCode(result.outcome.code),
                result.outcome.message,
                self._truly_reached(task),
                result.action_accuracy,
                duration_from_msg(result.duration),
                [(record.instruction or record.action.name, record.message) for record in result.actions],
            )
        )
        return steps.reports

    def _truly_reached(self, task: str) -> bool | None:
        try:
            goal = goal_in_words(task)
        except UnknownTaskError:
            return None
        deadline = time.monotonic() + _TRUTH_S
        state = self._true_state()
        while state is None and time.monotonic() < deadline:
            time.sleep(0.02)
            state = self._true_state()
        return None if state is None else all(literal.holds(state) for literal in goal)

    def _true_state(self) -> State | None:
        try:
            return symbols(self._truth.observe("", 0).table)
        except MissingInputError:
            return None


def _predicates(task: str) -> tuple[str, ...]:
    """Put a task into predicates where that needs no model; a small one answers, but does not read."""
    try:
        return tuple(str(literal) for literal in goal_in_words(task))
    except UnknownTaskError:
        return ()
