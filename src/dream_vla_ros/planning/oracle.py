"""A model that knows the truth, to show what planning reaches when seeing and writing are perfect."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .errors import ProblemError
from .grammar import ByteAutomaton
from .interfaces import Image, Message, Observation, TrueState
from .plan_text import format_plan
from .planner import ClassicalPlanner
from .problem import Problem
from .terms import GroundAction, State
from .transition import transition_model


class Oracle:
    """A :class:`~.interfaces.VisionLanguageModel` that plans and answers from the true state.

    :param world: Whose state is the truth.
    :raises ProblemError: If two atoms are asked for by the same question.
    """

    def __init__(self, problem: Problem, world: TrueState, planner: ClassicalPlanner | None = None) -> None:
        self._problem = problem
        self._world = world
        self._planner = planner if planner is not None else ClassicalPlanner()
        self._model = transition_model(problem)
        self._plans: dict[State, tuple[GroundAction, ...]] = {}
        self._atoms = {problem.scene.question(atom): atom for atom in problem.scene.askable_atoms()}
        if len(self._atoms) != len(problem.scene.askable_atoms()):
            raise ProblemError(
                f"'{problem.name}': some questions of domain '{problem.domain.name}' read the same for "
                "different objects; give each object a description of its own"
            )

    def generate(
        self, messages: Sequence[Message], images: Sequence[Image], *, grammar: ByteAutomaton | None = None
    ) -> str:
        """Write a shortest plan from the true state; prose if there is none."""
        state = self._world.state
        if state not in self._plans:
            self._remember(state)
        plan = self._plans.get(state)
        if plan is None:
            return "There is no plan that reaches the goal."
        return format_plan(self._problem.domain, plan)

    def yes_probabilities(self, questions: Sequence[str], observation: Observation) -> list[float]:
        """Answer with 1 or 0; NaN to questions that ask for no atom."""
        state = self._world.state
        return [float(self._atoms[q] in state) if q in self._atoms else math.nan for q in questions]

    def _remember(self, state: State) -> None:
        """Plan, and keep the rest of the plan for every state it leads through."""
        plan = self._planner.plan(self._problem, state)
        if plan is None:
            return
        for index, action in enumerate(plan):
            self._plans[state] = plan[index:]
            after = self._model.apply(state, action)
            if after is None:
                break
            state = after
        else:
            self._plans[state] = ()
