"""A world that is nothing but its symbolic state, in which actions may fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .errors import InvalidActionError, PlanningError
from .interfaces import Execution, ExecutionStatus, Image, Observation
from .outcomes import TaskCode, TaskInterrupted
from .problem import Problem
from .terms import GroundAction, State
from .transition import transition_model

# What a failed action does, as in ViPlan: nothing (a missed grasp), or its object ends up beside where it was
# meant to go, or beside where it came from.
_NOTHING = 0.5
_BESIDE_TARGET = 0.25


class SymbolicEnvironment:
    """Simulates a problem's actions from its first state.

    :param failure_probability: How probable it is that a possible action fails. A failed action does nothing,
        or, where the domain says how it may slip, something else.
    :param rng: Decides.
    :param renderer: Draws a state for the cameras; None gives no images.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        failure_probability: float = 0.0,
        rng: np.random.Generator | None = None,
        renderer: Callable[[State], Sequence[Image]] | None = None,
    ) -> None:
        if not 0.0 <= failure_probability <= 1.0:
            raise PlanningError(f"failure_probability is {failure_probability}, not 0 to 1")
        if failure_probability > 0.0 and rng is None:
            raise PlanningError("actions that may fail need a random generator")
        self.problem = problem
        self.model = transition_model(problem)
        self.state: State = problem.initial
        self._failure_probability = failure_probability
        self._rng = rng
        self._renderer = renderer

    def observe(self) -> Observation:
        """Draw the state."""
        return Observation(tuple(self._renderer(self.state)) if self._renderer is not None else ())

    def execute(self, action: GroundAction, instruction: str) -> Execution:
        """Do an action, or fail at it."""
        try:
            missing = self.model.missing(self.state, action)
        except InvalidActionError as error:
            return Execution(ExecutionStatus.IMPOSSIBLE, str(error))
        if missing:
            return Execution(
                ExecutionStatus.IMPOSSIBLE, f"it needs that {', and '.join(c.words for c in missing)}"
            )
        done: GroundAction | None = action
        if self._rng is not None and self._rng.random() < self._failure_probability:
            done = self._slipped(action, self._rng)
        if done is not None:
            after = self.model.apply(self.state, done)
            if after is None and done == action:
                raise TaskInterrupted(TaskCode.EXECUTION_FAULT, f"{action} contradicts itself in this domain")
            self.state = self.state if after is None else after
        return Execution(ExecutionStatus.DONE)

    def _slipped(self, action: GroundAction, rng: np.random.Generator) -> GroundAction | None:
        """Draw what a failed action does instead; None for nothing."""
        draw = rng.random()
        slip = self.problem.domain.words.actions[action.name].slip
        if slip is None or draw < _NOTHING:
            return None
        names = [p.name for p in self.problem.domain.signature.actions[action.name].parameters]
        index = names.index(slip.parameter)
        if draw < _NOTHING + _BESIDE_TARGET:
            centre = action.arguments[index]
        else:
            here = [
                a.arguments[1]
                for a in self.state
                if a.predicate == slip.place and a.arguments[0] == action.arguments[0]
            ]
            if not here:
                return None
            centre = min(here)
        beside = self._neighbours(slip.neighbours, centre)
        if not beside:
            return None
        arguments = list(action.arguments)
        arguments[index] = beside[int(rng.integers(len(beside)))]
        return GroundAction(action.name, tuple(arguments))

    def _neighbours(self, predicate: str, name: str) -> list[str]:
        pairs = [
            atom.arguments for atom in self.state if atom.predicate == predicate and name in atom.arguments
        ]
        return sorted({other for pair in pairs for other in pair if other != name})
