"""The model as grounder: it says what holds, a classical planner plans, and every action is checked."""

from __future__ import annotations

from .executor import ActionExecutor
from .goals import PredicateGoal
from .outcomes import Stage, TaskCode, TaskResult
from .planner import ClassicalPlanner
from .session import Limits, Report, Session
from .terms import GroundAction


class VlmGrounder:
    """Carries out a task by planning on what the model sees.

    :param executor: Carries out single actions; its belief is where planning starts.
    :param planner: Makes the plans.
    :param look_first: Find out about the whole state before planning; without, the belief is trusted.
    :param look_after_failure: Find out about the whole state again when an action did not do what it should;
        without, only what was asked about that action is known to be different.
    :param report: Told of every change.
    """

    def __init__(
        self,
        executor: ActionExecutor,
        planner: ClassicalPlanner | None = None,
        *,
        look_first: bool = True,
        look_after_failure: bool = True,
        limits: Limits | None = None,
        report: Report | None = None,
    ) -> None:
        self._executor = executor
        self._problem = executor.problem
        self._planner = planner if planner is not None else ClassicalPlanner()
        self._look_due = look_first
        self._look_after_failure = look_after_failure
        self._goal = PredicateGoal(executor)
        self._session = Session(executor.belief, limits, report)
        self._seen_all = False

    def run(self) -> TaskResult:
        """Carry out the task."""
        return self._session.run(self._run)

    def plan(self) -> tuple[GroundAction, ...] | None:
        """Look if need be, and plan, without carrying anything out.

        :returns: None if no plan leads to the goal.
        :raises PlannerError: If the planner cannot be run.
        """
        session = self._session
        if self._look_due:
            self._look_at_all()
        session.enter(Stage.PLANNING, ())
        plan = self._planner.plan(self._problem, self._executor.belief.state)
        session.plans += 1
        if plan is None and not self._seen_all:
            # What is believed may be wrong; see for real before giving up.
            self._look_at_all()
            plan = self._planner.plan(self._problem, self._executor.belief.state)
        return plan

    def _run(self) -> tuple[TaskCode, str]:
        session = self._session
        unclear = 0
        while True:
            plan = self.plan()
            if plan is None:
                return (
                    TaskCode.NO_PLAN,
                    f"no plan leads to the goal: {'; '.join(self._problem.goal_statements())}",
                )
            if not plan:
                session.enter(Stage.GROUNDING, ())
                unmet = self._goal.unmet()
                if not unmet:
                    return TaskCode.GOAL_REACHED, ""
                unclear += 1
                if unclear >= session.limits.looks and self._problem.reached(self._executor.belief.state):
                    return TaskCode.NO_PLAN, f"the goal should hold, but {'; '.join(unmet)}"
                continue
            unclear = 0
            if not self._follow(plan):
                return session.exhausted(self._problem.unmet(self._executor.belief.state))

    def _follow(self, plan: tuple[GroundAction, ...]) -> bool:
        """Carry out a plan until it is done or something else happened than it said.

        :returns: False if no steps are left for the rest of it.
        """
        session = self._session
        for index, action in enumerate(plan):
            if not session.steps_left:
                return False
            session.enter(Stage.EXECUTING, plan[index:])
            record = self._executor.carry_out(action)
            self._seen_all = False
            session.add(record)
            if not record.succeeded:
                self._look_due = self._look_after_failure
                break
        return True

    def _look_at_all(self) -> None:
        self._session.enter(Stage.GROUNDING)
        self._executor.look_at_all()
        self._seen_all, self._look_due = True, False
