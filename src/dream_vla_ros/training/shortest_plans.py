"""Shortest plans over a few objects by the thousand, which the planning process starts too slowly for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.terms import GroundAction, Literal, State
from dream_vla_ros.planning.transition import transition_model

Successors = Sequence[tuple[GroundAction, State]]
"""Possible actions, sorted by their text, and the states they lead to."""


class ShortestPlans:
    """Plans by breadth-first search over one set of objects; where actions lead is worked out once.

    :param objects: Names of objects of the domain's only type.
    """

    def __init__(self, domain: Domain, objects: Sequence[str]) -> None:
        (kind,) = domain.signature.supertypes
        problem = Problem.create(domain, dict.fromkeys(sorted(objects), kind), [])
        self._model = transition_model(problem)
        self._known: dict[State, Successors] = {}

    def successors(self, state: State) -> Successors:
        """Return what can be done in a state."""
        if state not in self._known:
            actions = sorted(self._model.possible(state), key=str)
            applied = ((action, self._model.apply(state, action)) for action in actions)
            self._known[state] = [(action, after) for action, after in applied if after is not None]
        return self._known[state]

    def plan(
        self, state: State, goal: Sequence[Literal], longest: int = 4
    ) -> tuple[GroundAction, ...] | None:
        """Return a shortest plan; the first by its actions' text among those as short.

        :param longest: Plans with more actions are not looked for.
        :returns: None if no plan is short enough.
        """
        reached: dict[State, tuple[GroundAction, ...]] = {state: ()}
        front = [state]
        while front:
            for now in front:
                if all(literal.holds(now) for literal in goal):
                    return reached[now]
            if len(reached[front[0]]) == longest:
                return None
            beyond = []
            for now in front:
                for action, after in self.successors(now):
                    if after not in reached:
                        reached[after] = (*reached[now], action)
                        beyond.append(after)
            front = beyond
        return None


@cache
def shortest_plans(domain: Domain, objects: tuple[str, ...]) -> ShortestPlans:
    """Return the plans over a set of objects, the same ones every time.

    :param objects: Sorted.
    """
    return ShortestPlans(domain, objects)
