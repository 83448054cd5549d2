"""Plans and carries out one task after another on a robot, and answers questions in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dream_vla_ros.nodes.planner.goal import TaskRequest, TaskRun, Thinking
from dream_vla_ros.nodes.planner.mind import Mind
from dream_vla_ros.nodes.planner.parameters import Mode, PlannerParameters
from dream_vla_ros.nodes.planner.preparation import Prepared, known_scene, prepare, thresholds
from dream_vla_ros.nodes.planner.senses import Senses
from dream_vla_ros.nodes.planner.world import RobotWorld
from dream_vla_ros.planning.belief import Belief
from dream_vla_ros.planning.domain import Domain, Scene
from dream_vla_ros.planning.errors import PlanningError
from dream_vla_ros.planning.executor import ActionExecutor
from dream_vla_ros.planning.goals import GoalCheck, PredicateGoal, WordGoal
from dream_vla_ros.planning.grammar import plan_grammar
from dream_vla_ros.planning.interfaces import Execution, Observation
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.planning.outcomes import Answer, TaskCode, TaskInterrupted, TaskResult
from dream_vla_ros.planning.problem import check_atom
from dream_vla_ros.planning.session import Limits, Report
from dream_vla_ros.planning.terms import GroundAction, parse_literal
from dream_vla_ros.planning.transition import transition_model
from dream_vla_ros.planning.vlm_grounder import VlmGrounder
from dream_vla_ros.planning.vlm_planner import VlmPlanner
from dream_vla_ros.policy.frames import MissingInputError

# A question waits at most this long for a model that is writing a plan.
_TURN_S = 20.0
_LOOK_AGAIN_S = 0.02

R = TypeVar("R", TaskResult, "PlanResult")

CarryOut = Callable[[str, str, float, float, TaskRun], Execution]
"""Instruction, success question, time limit [s], patience with the policy [s] and task to what came of it."""


@dataclass(frozen=True)
class PlanResult:
    """What came of planning without acting.

    :param plan: In order; empty where there is none.
    :param text: What the model wrote; empty where it wrote nothing.
    """

    code: TaskCode
    message: str
    plan: tuple[GroundAction, ...] = ()
    belief: tuple[Answer, ...] = ()
    text: str = ""


class PlannerEngine:
    """Thinks for the planner node.

    :param mind: Answers and plans.
    :param senses: Look.
    :param parameters: Returns the node's parameters as they are now.
    :param now_ns: Returns the ROS time.
    :param sight_patience_s: How long images may be missing.
    """

    def __init__(
        self,
        mind: Mind,
        senses: Senses,
        parameters: Callable[[], PlannerParameters],
        now_ns: Callable[[], int],
        sight_patience_s: float,
    ) -> None:
        self._mind = mind
        self._senses = senses
        self._parameters = parameters
        self._now_ns = now_ns
        self._sight_patience_s = sight_patience_s
        self._thinking = Thinking()
        self._domains: dict[tuple[str, tuple[str, ...]], Domain] = {}

    def answer(self, questions: Sequence[str], predicates: Sequence[str], domain: str) -> list[Answer]:
        """Answer questions in words and for predicates, about what is seen now.

        :param domain: Of the predicates; empty for the node's default.
        :raises PlanningError: If a predicate does not exist or nothing can be answered.
        :raises MissingInputError: If nothing is seen for as long as images may be missing, naming what is.
        """
        if not questions and not predicates:
            raise PlanningError("nothing was asked: give questions, predicates or both")
        blank = [index for index, question in enumerate(questions) if not question.strip()]
        if blank:
            raise PlanningError(f"question {blank[0] + 1} is empty")
        if not self._thinking.begin(_TURN_S):
            raise PlanningError(f"the model has been writing a plan for {_TURN_S:g} s; ask again")
        try:
            parameters = self._parameters()
            scene = known_scene(self._domain(domain or parameters.domain, parameters))
            literals = [parse_literal(text) for text in predicates]
            for literal in literals:
                check_atom(scene, literal.atom)
                if not literal.positive:
                    raise PlanningError(f"{literal}: ask for {literal.atom}, without the not")
            asker = self._mind.asker(scene, thresholds(parameters))
            observation = self._look()
            by_words = asker.ask(list(questions), observation) if questions else []
            by_atom = asker.ground([literal.atom for literal in literals], observation) if literals else []
            return [*by_words, *by_atom]
        finally:
            self._thinking.end()

    def _look(self) -> Observation:
        """Look; wait for what is too old or missing at this moment, but not for longer than a task would."""
        deadline = time.monotonic() + self._sight_patience_s
        while True:
            try:
                return self._senses.look(0)
            except MissingInputError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_LOOK_AGAIN_S)

    def execute(self, run: TaskRun, carry_out: CarryOut, report: Report) -> TaskResult:
        """Plan a task and carry it out.

        :param carry_out: Has an instruction carried out.
        :param report: Told of every change.
        """
        parameters = self._parameters()
        question_of: dict[str, Callable[[GroundAction], str]] = {}

        def act(action: GroundAction, instruction: str) -> Execution:
            question = question_of["question"](action) if parameters.success_questions else ""
            limit_s = run.request.time_limit_s or parameters.instruction_time_limit
            return carry_out(instruction, question, limit_s, parameters.policy_patience, run)

        def body(prepared: Prepared, world: RobotWorld, mode: Mode) -> TaskResult:
            executor = self._executor(prepared, world, parameters)
            question_of["question"] = lambda action: _first_effect(executor, action)
            limits = Limits(
                run.request.max_steps or parameters.max_steps, parameters.max_faults, parameters.looks
            )
            if mode is Mode.GROUNDER:
                return VlmGrounder(executor, limits=limits, report=report).run()
            return self._vlm_planner(run.request, prepared, executor, world, limits, report).run()

        return self._thought(run, act, body, TaskResult)

    def plan(self, run: TaskRun, report: Report) -> PlanResult:
        """Plan a task without carrying anything out.

        :param report: Told of every change.
        """
        parameters = self._parameters()

        def act(action: GroundAction, instruction: str) -> Execution:
            raise AssertionError("planning does not act")

        def body(prepared: Prepared, world: RobotWorld, mode: Mode) -> PlanResult:
            executor = self._executor(prepared, world, parameters)
            limits = Limits(1, parameters.max_faults, parameters.looks)
            if mode is Mode.GROUNDER:
                grounder = VlmGrounder(executor, limits=limits, report=report)
                plan = grounder.plan()
                belief = executor.belief.answers()
                if plan is None:
                    goal = "; ".join(prepared.problem.goal_statements())
                    return PlanResult(TaskCode.NO_PLAN, f"no plan leads to the goal: {goal}", belief=belief)
                return PlanResult(TaskCode.GOAL_REACHED, "", plan, belief)
            executor.look_at_all()
            planner = self._vlm_planner(run.request, prepared, executor, world, limits, report)
            written = planner.write_plan()
            fault = written.fault or _first_fault(executor, written.actions)
            code = TaskCode.NO_PLAN if fault else TaskCode.GOAL_REACHED
            return PlanResult(code, fault, written.actions, executor.belief.answers(), written.text)

        return self._thought(run, act, body, PlanResult)

    def _thought(
        self,
        run: TaskRun,
        act: Callable[[GroundAction, str], Execution],
        body: Callable[[Prepared, RobotWorld, Mode], R],
        refused: Callable[[TaskCode, str], R],
    ) -> R:
        """Prepare a task and run its body, alone; turn what ends it early into its result."""
        world = RobotWorld(run, self._thinking, self._senses, act, self._now_ns, self._sight_patience_s)
        try:
            while not self._thinking.begin(0.1):
                run.check()
            try:
                parameters = self._parameters()
                mode = run.request.mode or parameters.mode
                self._mind.begin(run.check)
                domain = self._domain(run.request.domain or parameters.domain, parameters)
                try:
                    prepared = prepare(run.request, domain, self._mind, mode, parameters, world)
                except PlanningError as error:
                    return refused(TaskCode.REFUSED, str(error))
                return body(prepared, world, mode)
            finally:
                self._mind.begin(lambda: None)
                self._thinking.end()
        except TaskInterrupted as interruption:
            return refused(interruption.code, interruption.message)
        except PlanningError as error:
            return refused(TaskCode.REFUSED, str(error))

    def _executor(
        self, prepared: Prepared, world: RobotWorld, parameters: PlannerParameters
    ) -> ActionExecutor:
        return ActionExecutor(prepared.problem, world, prepared.asker, Belief(), looks=parameters.looks)

    def _vlm_planner(
        self,
        request: TaskRequest,
        prepared: Prepared,
        executor: ActionExecutor,
        world: RobotWorld,
        limits: Limits,
        report: Report,
    ) -> VlmPlanner:
        problem = prepared.problem
        goal: GoalCheck = PredicateGoal(executor)
        task = request.task
        if not problem.goal:
            goal, task = WordGoal(request.task, prepared.asker, world), ""
        return VlmPlanner(
            executor,
            self._mind.writer(problem),
            world,
            goal=goal,
            task=task,
            grammar=plan_grammar(problem.scene) if self._mind.constrained else None,
            limits=limits,
            report=report,
        )

    def _domain(self, name: str, parameters: PlannerParameters) -> Domain:
        key = (name, parameters.domain_folders)
        if key not in self._domains:
            self._domains[key] = load_domain(name, parameters.domain_folders)
        return self._domains[key]


def _first_effect(executor: ActionExecutor, action: GroundAction) -> str:
    """Return the question whether the first thing holds that an action should make true."""
    scene: Scene = executor.problem.scene
    askable = set(scene.askable_atoms())
    for literal in executor.model.effects(executor.belief.state, action):
        if literal.positive and literal.atom in askable:
            return scene.question(literal.atom)
    return ""


def _first_fault(executor: ActionExecutor, plan: Sequence[GroundAction]) -> str:
    """Say what keeps a plan from reaching the goal, as far as is believed; empty if nothing does."""
    problem = executor.problem
    model = transition_model(problem)
    state = executor.belief.state
    if not plan and problem.unmet(state):
        return f"the plan is empty, but {'; '.join(problem.unmet(state))} is still to do"
    for number, action in enumerate(plan, start=1):
        missing = model.missing(state, action)
        if missing:
            needs = ", and ".join(condition.words for condition in missing)
            return f"action {number}, {action}, is not possible then; it needs that {needs}"
        after = model.apply(state, action)
        if after is None:
            return f"action {number}, {action}, is not possible then"
        state = after
    unmet = problem.unmet(state)
    return f"after the plan there is still to do: {'; '.join(unmet)}" if unmet else ""
