"""What the demo measured: as a table for a person, as JSON for a program, and whether the graph worked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.report.statistics import RateStatistics, percentile
from dream_vla_ros.report.table import number, table

if TYPE_CHECKING:
    from dream_vla_ros.nodes.demo.plan_report import TaskReports
    from dream_vla_ros.nodes.demo.run import GoalReport

# Shares of the nominal rate below which a stream counts as not working. A machine that is merely busy stays
# above; cameras are rendered on the processor and may give way first.
_LOWEST_CAMERA_SHARE = 0.5
_LOWEST_COMMAND_SHARE = 0.8
# Ends that a working graph comes to.
_FINE = (Outcome.SUCCEEDED, Outcome.SETTLED, Outcome.TIME_LIMIT)


@dataclass(frozen=True)
class Summary:
    """The demo in figures.

    :param policy: Who acted, for example ``scripted expert``.
    :param objective: Of the checkpoint, or ``scripted``.
    :param untrained: Whether its weights are random.
    :param expert: Whether the scripted expert acted, which must reach every task.
    :param cameras: How regularly each camera sent while goals ran.
    :param camera_rate_hz: What each should send.
    :param commands: How regularly the controller sent while goals ran.
    :param command_rate_hz: What it should send.
    :param plans: The tasks of several steps that the goals were part of, if any.
    """

    policy: str
    objective: str
    untrained: bool
    expert: bool
    goals: Sequence[GoalReport]
    cameras: Mapping[str, RateStatistics]
    camera_rate_hz: float
    commands: RateStatistics
    command_rate_hz: float
    plans: TaskReports | None = None

    @property
    def latencies_s(self) -> list[float]:
        """Latency of every chunk."""
        return [latency for goal in self.goals for latency in goal.latencies_s]

    def problems(self) -> list[str]:
        """Name what did not work as it must, whether or not the tasks succeeded."""
        found = []
        for name, statistics in self.cameras.items():
            if statistics.count == 0:
                found.append(f"camera {name} sent nothing")
            elif not statistics.rate_hz >= _LOWEST_CAMERA_SHARE * self.camera_rate_hz:
                found.append(
                    f"camera {name} sent at {number(statistics.rate_hz)} Hz, not {self.camera_rate_hz:g}"
                )
        if self.commands.count == 0:
            found.append("the controller sent no commands")
        elif not self.commands.rate_hz >= _LOWEST_COMMAND_SHARE * self.command_rate_hz:
            found.append(f"commands came at {number(self.commands.rate_hz)} Hz, not {self.command_rate_hz:g}")
        for goal in self.goals:
            said = f"'{goal.instruction}'"
            if goal.result.outcome not in _FINE:
                found.append(f"{said} ended with {goal.result}")
            if not goal.latencies_s:
                found.append(f"{said} got no action chunk")
            elif goal.chunks_accepted == 0:
                found.append(f"no chunk of {said} was executed")
            if self.plans is None and self.expert and goal.reached is not True:
                found.append(f"the scripted expert did not reach {said}")
        if self.plans is not None and self.expert:
            found += self.plans.problems()
        return found

    def tables(self) -> str:
        """Lay out the figures for a person, at most 100 columns wide."""
        goals = [
            (
                goal.instruction,
                goal.result.outcome.words,
                {True: "yes", False: "no", None: "-"}[goal.reached],
                f"{goal.result.duration_s:.1f} s",
                f"{len(goal.latencies_s)}",
                _milliseconds(goal.latencies_s),
                f"{goal.idle_first_s:.2f} s",
                f"{goal.idle_s:.2f} s",
            )
            for goal in self.goals
        ]
        header = ("goal", "outcome", "done", "time", "chunks", "latency p50/p95", "first move", "idle")
        streams = [
            _stream(f"camera {name}", statistics, self.camera_rate_hz)
            for name, statistics in self.cameras.items()
        ]
        streams.append(_stream("commands", self.commands, self.command_rate_hz))
        plans = (self.plans.tables(),) if self.plans is not None else ()
        return "\n\n".join(
            (
                *plans,
                table(header, goals, right=(3, 4, 5, 6, 7)),
                table(
                    ("stream", "rate", "nominal", "jitter p99", "longest gap"), streams, right=(1, 2, 3, 4)
                ),
                f"inference latency p50/p95 over all {len(self.latencies_s)} chunks: "
                f"{_milliseconds(self.latencies_s)} (image capture to chunk published)",
            )
        )

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain data; what is unknown is null."""
        return {
            "policy": self.policy,
            "objective": self.objective,
            "untrained": self.untrained,
            "expert": self.expert,
            "problems": self.problems(),
            "goals": [
                {
                    "instruction": goal.instruction,
                    "outcome": goal.result.outcome.name,
                    "message": goal.result.message,
                    "reached": goal.reached,
                    "duration_s": goal.result.duration_s,
                    "chunks": len(goal.latencies_s),
                    "chunks_accepted": goal.chunks_accepted,
                    "chunks_refused": goal.chunks_refused,
                    "executed_s": goal.executed_s,
                    "idle_before_first_chunk_s": goal.idle_first_s,
                    "idle_s": goal.idle_s,
                    "latency_p50_s": _known(percentile(goal.latencies_s, 50.0)),
                    "latency_p95_s": _known(percentile(goal.latencies_s, 95.0)),
                }
                for goal in self.goals
            ],
            "inference_latency_p50_s": _known(percentile(self.latencies_s, 50.0)),
            "inference_latency_p95_s": _known(percentile(self.latencies_s, 95.0)),
            "cameras": {name: _rates(statistics) for name, statistics in self.cameras.items()},
            "commands": _rates(self.commands),
        }


def _stream(name: str, statistics: RateStatistics, nominal_hz: float) -> tuple[str, ...]:
    return (
        name,
        number(statistics.rate_hz, 1, "Hz"),
        f"{nominal_hz:g} Hz",
        number(1000.0 * statistics.jitter_p99_s, 2, "ms"),
        number(1000.0 * statistics.longest_gap_s, 1, "ms"),
    )


def _milliseconds(latencies_s: Sequence[float]) -> str:
    if not latencies_s:
        return "-"
    return f"{1000 * percentile(latencies_s, 50.0):.0f} / {1000 * percentile(latencies_s, 95.0):.0f} ms"


def _rates(statistics: RateStatistics) -> dict[str, Any]:
    return {
        "count": statistics.count,
        "rate_hz": _known(statistics.rate_hz),
        "jitter_p99_s": _known(statistics.jitter_p99_s),
        "longest_gap_s": _known(statistics.longest_gap_s),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
