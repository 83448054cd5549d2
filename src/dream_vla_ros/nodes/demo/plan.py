"""Carry out the demo's tasks of several steps through the planner's action, and note each step."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dream_vla_msgs.action import ExecuteTask
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.conversions import duration_from_msg
from dream_vla_ros.nodes.demo.monitor import DemoMonitor
from dream_vla_ros.nodes.demo.processes import ProcessGroup
from dream_vla_ros.nodes.demo.run import DemoError, DemoRun, GoalReport
from dream_vla_ros.nodes.outcome import Outcome, Result
from dream_vla_ros.nodes.planner.client import PlannerClient
from dream_vla_ros.nodes.planner.parameters import Mode
from dream_vla_ros.nodes.policy.expert_node import SceneObserver
from dream_vla_ros.nodes.spinning_node import NotReadyError
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.planning.outcomes import ActionCode, TaskCode
from dream_vla_ros.planning.terms import State
from dream_vla_ros.policy.frames import MissingInputError
from dream_vla_ros.report.recording import GoalSpan, Recording
from dream_vla_ros.report.table import number, table
from dream_vla_ros.report.video import TAIL_S
from dream_vla_ros.sim.symbols import UnknownTaskError, goal_in_words, symbols

PLAN_FILE = "plan.json"
# Lays the four standard blocks out side by side.
_ANY_TASK = "pick up the red block"
_READY_S = 120.0
_TRUTH_S = 3.0
_CARRIED_OUT = (ActionCode.SUCCEEDED, ActionCode.EFFECTS_MISSING)


@dataclass
class TaskReport:
    """What came of one task.

    :param reached: Whether the goal truly holds, by the simulation's own state; None where that is not known.
    :param accuracy: Share of the tried actions that succeeded.
    :param steps: Each action with its outcome in words.
    """

    task: str
    mode: str
    code: TaskCode
    message: str
    reached: bool | None
    accuracy: float
    duration_s: float
    steps: list[tuple[str, str]] = field(default_factory=list)


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
        self.reports: list[TaskReport] = []

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
        steps = _Steps(self._monitor, self._recording, self._show)

        def watch(feedback: Any) -> None:
            self._processes.check()
            steps.see(feedback)

        try:
            result = planner.execute(
                task, mode=mode, instruction_time_limit_s=time_limit_s, on_feedback=watch, timeout_s=_READY_S
            )
        except NotReadyError as error:
            raise DemoError(f"{error}; the end of its log:\n{self._processes.last_words()}") from error
        steps.finish(result.actions)
        self._run.pause(TAIL_S)
        self.reports.append(
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

    def problems(self) -> list[str]:
        """Name the tasks whose end was not what the simulation says, or that failed."""
        found = []
        for report in self.reports:
            if report.code is not TaskCode.GOAL_REACHED:
                found.append(f"task '{report.task}' ended with {report.code.name.lower()}: {report.message}")
            elif report.reached is False:
                found.append(f"task '{report.task}' was said to be done and is not")
        return found

    def tables(self) -> str:
        """Lay out the tasks for a person."""
        rows = [
            (
                report.task,
                report.mode,
                report.code.name.lower().replace("_", " "),
                {True: "yes", False: "no", None: "-"}[report.reached],
                str(len(report.steps)),
                number(100 * report.accuracy, 0, "%"),
                f"{report.duration_s:.1f} s",
            )
            for report in self.reports
        ]
        header = ("task", "mode", "outcome", "done", "actions", "worked", "time")
        return table(header, rows, right=(4, 5, 6), width=100)

    def write(self, out: Path) -> None:
        """Write what came of the tasks into a folder."""
        tasks = [
            {
                "task": report.task,
                "mode": report.mode,
                "outcome": report.code.name,
                "message": report.message,
                "truly_reached": report.reached,
                "action_accuracy": None if math.isnan(report.accuracy) else report.accuracy,
                "duration_s": report.duration_s,
                "actions": [{"action": action, "outcome": outcome} for action, outcome in report.steps],
            }
            for report in self.reports
        ]
        (out / PLAN_FILE).write_text(json.dumps(tasks, indent=2) + "\n", encoding="utf-8")

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


class _Steps:
    """Turns a task's feedback into one span and one report for each instruction."""

    def __init__(self, monitor: DemoMonitor, recording: Recording, show: Callable[[str], None]) -> None:
        self.reports: list[GoalReport] = []
        self._monitor = monitor
        self._recording = recording
        self._show = show
        self._began_s: float | None = None
        self._seen = 0

    def see(self, feedback: Any) -> None:
        """Take in feedback."""
        if feedback.step > self._seen and feedback.last_action.code:
            self._end(feedback.last_action)
        if feedback.state == ExecuteTask.Feedback.EXECUTING and self._began_s is None:
            self._began_s = self._monitor.now_s()
        plan = " > ".join(f"{a.name}({', '.join(a.arguments)})" for a in feedback.plan)
        elapsed_s = duration_from_msg(feedback.elapsed)
        states = ("waiting for images", "grounding", "planning", "executing")
        self._show(f"{states[feedback.state]:<18} {elapsed_s:5.1f} s  {plan}")

    def finish(self, records: Any) -> None:
        """Take in the result's last actions."""
        for record in records[self._seen :]:
            self._end(record)

    def _end(self, record: Any) -> None:
        self._seen += 1
        began_s, self._began_s = self._began_s, None
        if began_s is None or not record.instruction:
            return
        ended_s = self._monitor.now_s()
        code = ActionCode(record.code)
        succeeded = code is ActionCode.SUCCEEDED
        self._recording.goals.append(
            GoalSpan(record.instruction, began_s, ended_s, code.name.lower().replace("_", " "), succeeded)
        )
        outcome = Outcome.SETTLED if code in _CARRIED_OUT else Outcome.FAULT
        result = Result(outcome, record.message, duration_from_msg(record.duration))
        seen = [chunk for _, chunk in self._recording.chunks.between(began_s, ended_s)]
        state = self._monitor.controller_of(seen[-1].chunk.goal_id) if seen else None
        report = GoalReport(record.instruction, result, succeeded, [chunk.latency_s for chunk in seen])
        if state is not None:
            report = GoalReport(
                record.instruction,
                result,
                succeeded,
                report.latencies_s,
                state.chunks_accepted,
                state.chunks_refused,
                state.executed_time,
                state.idle_time_before_first_chunk,
                state.idle_time,
            )
        self.reports.append(report)
