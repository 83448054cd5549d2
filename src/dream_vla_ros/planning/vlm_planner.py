"""The model as planner: it writes the plan, its first action is done, and it looks again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import InvalidActionError, PlanParseError
from .executor import ActionExecutor
from .goals import GoalCheck, PredicateGoal
from .grammar import ByteAutomaton
from .interfaces import Environment, VisionLanguageModel
from .outcomes import ActionCode, ActionRecord, Stage, TaskCode, TaskResult
from .plan_text import RawAction, parse_plan
from .prompts import planner_messages
from .resolve import Resolver
from .session import Limits, Report, Session
from .terms import NO_ACTION, GroundAction, Literal

# The same failure twice may be bad luck; from then on the model is told.
_REPEATS_BEFORE_NOTE = 2
# How many actions a circle may have to be noticed.
_CIRCLES = range(1, 5)


@dataclass(frozen=True)
class WrittenPlan:
    """A plan as the model wrote it.

    :param actions: The actions up to the first that is not part of the problem.
    :param text: What the model wrote.
    :param fault: What is wrong with the plan; empty if nothing is.
    :param meant: The first action at fault, as far as it could be read.
    """

    actions: tuple[GroundAction, ...]
    text: str
    fault: str = ""
    meant: GroundAction = NO_ACTION


class VlmPlanner:
    """Carries out a task by asking the model for a plan before every action.

    :param executor: Carries out single actions.
    :param goal: When the task is done; None takes the problem's goal.
    :param task: The task in words, told to the model beside the goal.
    :param facts: What is known and cannot be seen, for example what is in closed containers.
    :param grammar: What a plan's text must be; None leaves the model free.
    :param report: Told of every change.
    """

    def __init__(
        self,
        executor: ActionExecutor,
        model: VisionLanguageModel,
        environment: Environment,
        *,
        goal: GoalCheck | None = None,
        task: str = "",
        facts: Sequence[Literal] = (),
        grammar: ByteAutomaton | None = None,
        limits: Limits | None = None,
        report: Report | None = None,
    ) -> None:
        self._executor = executor
        self._problem = executor.problem
        self._scene = executor.problem.scene
        self._model = model
        self._environment = environment
        self._goal = goal if goal is not None else PredicateGoal(executor)
        self._task = task
        self._facts = tuple(facts)
        self._grammar = grammar
        self._resolver = Resolver(self._scene)
        self._session = Session(executor.belief, limits, report)

    def run(self) -> TaskResult:
        """Carry out the task."""
        return self._session.run(self._run)

    def write_plan(self) -> WrittenPlan:
        """Look, and have the model write a plan, without carrying anything out."""
        session = self._session
        session.enter(Stage.PLANNING)
        observation = self._environment.observe()
        messages = planner_messages(
            self._scene,
            [*filter(None, [self._task]), *self._goal.statements()],
            session.records,
            images=len(observation.images),
            facts=[self._scene.statement(fact) for fact in self._facts],
            notes=self._notes(),
        )
        text = self._model.generate(messages, observation.images, grammar=self._grammar)
        session.texts.append(text)
        session.plans += 1
        return self._read(text)

    def _run(self) -> tuple[TaskCode, str]:
        session = self._session
        while True:
            session.enter(Stage.GROUNDING)
            unmet = self._goal.unmet()
            if not unmet:
                return TaskCode.GOAL_REACHED, ""
            if not session.steps_left:
                return session.exhausted(unmet)
            plan = self.write_plan()
            if plan.actions:
                session.enter(Stage.EXECUTING, plan.actions)
                session.add(self._executor.carry_out(plan.actions[0]))
            else:
                fault = plan.fault or f"the plan is empty, but {'; '.join(unmet)} is still to do"
                session.enter(Stage.PLANNING, ())
                session.add(ActionRecord(plan.meant, ActionCode.INVALID, f"not carried out; {fault}"))

    def _read(self, text: str) -> WrittenPlan:
        try:
            parsed = parse_plan(text)
        except PlanParseError as error:
            return WrittenPlan((), text, str(error))
        actions: list[GroundAction] = []
        for raw in parsed.actions:
            action = self._resolved(raw)
            if isinstance(action, str):
                return WrittenPlan(tuple(actions), text, action, _as_written(raw))
            actions.append(action)
        return WrittenPlan(tuple(actions), text)

    def _resolved(self, raw: RawAction) -> GroundAction | str:
        """Return the action that is meant, or what is wrong with it."""
        try:
            return self._resolver.resolve(raw)
        except InvalidActionError as error:
            return str(error)

    def _notes(self) -> list[str]:
        """Say that the plan goes in circles, if it does."""
        records = self._session.records
        if not records:
            return []
        last = records[-1]
        repeats = 0
        for record in reversed(records):
            if record.action != last.action or record.succeeded:
                break
            repeats += 1
        notes = []
        if repeats >= _REPEATS_BEFORE_NOTE:
            name = str(last.action) if last.action.name else "an answer that is no plan"
            notes.append(f"{name} has now failed {repeats} times in a row; do something else")
        done = [record.action for record in records if record.succeeded]
        if last.succeeded and any(done[-length:] == done[-2 * length : -length] for length in _CIRCLES):
            notes.append(
                "the last actions only repeat those before: you are going in circles; do something else"
            )
        return notes


def _as_written(raw: RawAction) -> GroundAction:
    return GroundAction(raw.name, (*raw.positional, *(raw.named or {}).values()))
