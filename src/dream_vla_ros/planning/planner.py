"""The classical planner: Fast Downward through unified-planning."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unified_planning.engines import PlanGenerationResult, PlanGenerationResultStatus
from unified_planning.exceptions import UPException

from . import pddl
from .errors import PlannerError
from .problem import Problem
from .terms import GroundAction, State

_ENGINE = "fast-downward"
# Blind A* finds a shortest plan of every problem of ViPlan's size within 0.1 s of search, and understands
# every feature of the domains, which the better heuristics do not.
_SHORTEST = {"fast_downward_search_config": "astar(blind())"}
_ANY = {"fast_downward_alias": "lama-first"}
_SOLVED = (PlanGenerationResultStatus.SOLVED_OPTIMALLY, PlanGenerationResultStatus.SOLVED_SATISFICING)
_HOPELESS = (PlanGenerationResultStatus.UNSOLVABLE_PROVEN, PlanGenerationResultStatus.UNSOLVABLE_INCOMPLETELY)


@dataclass(frozen=True)
class ClassicalPlanner:
    """Plans from a state to a problem's goal: a shortest plan if found in time, else any.

    :param shortest_limit_s: Longest search for a shortest plan; 0 takes any plan at once.
    :param any_limit_s: Longest search for any plan after that.
    """

    shortest_limit_s: float = 5.0
    any_limit_s: float = 30.0

    def plan(self, problem: Problem, state: State) -> tuple[GroundAction, ...] | None:
        """Find a plan.

        :returns: The actions, none if the goal holds already; or None if there is no plan.
        :raises PlannerError: If the planner is not installed, breaks, or runs out of time.
        """
        if problem.reached(state):
            return ()
        task = problem.base.clone()
        for _, fluent in pddl.fluent_expressions(task, state):
            task.set_initial_value(fluent, True)
        if self.shortest_limit_s > 0.0:
            result = _solve(task, _SHORTEST, self.shortest_limit_s)
            if result.status in _SOLVED:
                return _actions(result)
            if result.status in _HOPELESS:
                return None
        started = time.monotonic()
        result = _solve(task, _ANY, self.any_limit_s)
        if result.status in _SOLVED:
            return _actions(result)
        if result.status in _HOPELESS:
            return None
        raise PlannerError(
            f"Fast Downward found no plan for '{problem.name}' in {time.monotonic() - started:.1f} s: "
            f"{result.status.name.lower().replace('_', ' ')}. {_last_words(result)}".strip()
        )


def _solve(task: pddl.UpProblem, parameters: dict[str, str], limit_s: float) -> PlanGenerationResult:
    try:
        with _fast_downward()(**parameters) as planner:
            return planner.solve(task, timeout=limit_s)
    except (UPException, ImportError) as error:
        raise PlannerError(
            f"{_ENGINE} cannot be used: {error}; is up-fast-downward installed, and does the domain keep to "
            "conditions, quantifiers and conditional effects?"
        ) from error
    except OSError as error:
        raise PlannerError(f"Fast Downward could not be started: {error}") from error


@cache
def _fast_downward() -> type[Any]:
    from up_fast_downward.fast_downward import FastDownwardPDDLPlanner

    class FastDownward(FastDownwardPDDLPlanner):  # type: ignore[misc]
        """Keeps what it translates beside its plan.

        Left to itself it writes ``output.sas`` into the working folder: two at once there read each other's.
        """

        def _base_cmd(self, plan_filename: str) -> list[Any]:
            translated = str(Path(plan_filename).with_name("output.sas"))
            return [*super()._base_cmd(plan_filename), "--sas-file", translated]

    return FastDownward


def _actions(result: PlanGenerationResult) -> tuple[GroundAction, ...]:
    return tuple(
        GroundAction(step.action.name, tuple(str(argument) for argument in step.actual_parameters))
        for step in result.plan.actions
    )


def _last_words(result: PlanGenerationResult) -> str:
    lines = [
        line for message in result.log_messages or () for line in message.message.splitlines() if line.strip()
    ]
    return lines[-1].strip()[:300] if lines else ""
