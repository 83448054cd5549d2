"""What came of the demo's tasks of several steps: for a person, for a file, and whether all is well."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from dream_vla_ros.planning.outcomes import TaskCode
from dream_vla_ros.report.table import number, table

PLAN_FILE = "plan.json"


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


@dataclass
class TaskReports:
    """What came of all tasks, in order."""

    tasks: list[TaskReport] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Name the tasks whose end was not what the simulation says, or that failed."""
        found = []
        for report in self.tasks:
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
            for report in self.tasks
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
            for report in self.tasks
        ]
        (out / PLAN_FILE).write_text(json.dumps(tasks, indent=2) + "\n", encoding="utf-8")
