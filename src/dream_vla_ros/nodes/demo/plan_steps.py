"""Turns the news of a planner's task into one span and one report for each instruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dream_vla_msgs.action import ExecuteTask
from dream_vla_ros.nodes.conversions import duration_from_msg
from dream_vla_ros.nodes.demo.monitor import DemoMonitor
from dream_vla_ros.nodes.demo.run import GoalReport
from dream_vla_ros.nodes.outcome import Outcome, Result
from dream_vla_ros.planning.outcomes import ActionCode
from dream_vla_ros.report.recording import GoalSpan, Recording

_CARRIED_OUT = (ActionCode.SUCCEEDED, ActionCode.EFFECTS_MISSING)


class InstructionSteps:
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
