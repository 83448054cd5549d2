"""What both planning loops keep track of while a task runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .belief import Belief
from .errors import PlanningError
from .outcomes import ActionCode, ActionRecord, Progress, Stage, TaskCode, TaskInterrupted, TaskResult
from .terms import GroundAction

Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Limits:
    """When a task is given up.

    :param steps: Most actions to try.
    :param faults: Most actions in a row that the policy could not carry out.
    :param looks: How often the scene is looked at for what is not clear.
    """

    steps: int = 30
    faults: int = 3
    looks: int = 2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise PlanningError(f"limit '{name}' is {value}, not 1 or more")


class Session:
    """The actions tried so far, and how to end.

    :param report: Told of every change.
    """

    def __init__(self, belief: Belief, limits: Limits | None, report: Report | None = None) -> None:
        self.belief = belief
        self.limits = limits if limits is not None else Limits()
        self.records: list[ActionRecord] = []
        self.texts: list[str] = []
        self.plans = 0
        self._plan: Sequence[GroundAction] = ()
        self._report = report

    @property
    def steps_left(self) -> bool:
        """Whether another action may be tried."""
        return len(self.records) < self.limits.steps

    def enter(self, stage: Stage, plan: Sequence[GroundAction] | None = None) -> None:
        """Report a new stage, with a new plan if there is one."""
        if plan is not None:
            self._plan = tuple(plan)
        if self._report is not None:
            last = self.records[-1] if self.records else None
            self._report(Progress(stage, len(self.records), self._plan, last, self.belief.answers()))

    def add(self, record: ActionRecord) -> None:
        """Keep what came of an action.

        :raises TaskInterrupted: If the policy failed too often in a row.
        """
        self.records.append(record)
        recent = self.records[-self.limits.faults :]
        if len(recent) == self.limits.faults and all(r.code is ActionCode.EXECUTION_FAULT for r in recent):
            raise TaskInterrupted(
                TaskCode.EXECUTION_FAULT,
                f"{len(recent)} actions in a row could not be carried out; the last: {record.message}",
            )

    def run(self, body: Callable[[], tuple[TaskCode, str]]) -> TaskResult:
        """Run a task to its end, and turn an interruption into an outcome.

        :param body: Returns how it ended.
        """
        try:
            code, message = body()
        except TaskInterrupted as interruption:
            code, message = interruption.code, interruption.message
        except PlanningError as error:
            code, message = TaskCode.NO_PLAN, f"planning broke off: {error}"
        return TaskResult(
            code,
            message,
            tuple(self.records),
            self.belief.answers(),
            self.plans,
            tuple(self.texts),
        )

    def exhausted(self, unmet: Sequence[str]) -> tuple[TaskCode, str]:
        """Return the outcome of having no steps left."""
        return (
            TaskCode.STEPS_EXHAUSTED,
            f"the goal does not hold after {len(self.records)} actions; still to do: {'; '.join(unmet)}",
        )
