"""Shortest plans over a few objects by the thousand, which the planning process starts too slowly for.

Objects of one type are alike but for their names: a table with a red block on a blue one is the same as one
with a blue block on a red one. Where actions lead is worked out once for all tables that are the same but for
names, whatever the objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import permutations

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.terms import Atom, GroundAction, Literal, State
from dream_vla_ros.planning.transition import transition_model

Successors = Sequence[tuple[GroundAction, State]]
"""Possible actions, sorted by their text, and the states they lead to."""


class ShortestPlans:
    """Plans by breadth-first search over one set of objects.

    :param domain: With one type and no objects of its own.
    :param objects: Names of objects.
    """

    def __init__(self, domain: Domain, objects: Sequence[str]) -> None:
        names = sorted(objects)
        self._graph = _graph(domain, len(names))
        self._number = dict(zip(names, self._graph.names, strict=True))
        self._name = dict(zip(self._graph.names, names, strict=True))

    def successors(self, state: State) -> Successors:
        """Return what can be done in a state."""
        found = self._graph.successors(_state(state, self._number))
        return [(_action(action, self._name), _state(after, self._name)) for action, after in found]

    def plan(
        self, state: State, goal: Sequence[Literal], longest: int = 4
    ) -> tuple[GroundAction, ...] | None:
        """Return a shortest plan; the first by its actions' text among those as short.

        :param longest: Plans with more actions are not looked for.
        :returns: None if no plan is short enough.
        """
        wanted = [Literal(_atom(one.atom, self._number), one.positive) for one in goal]
        start = _state(state, self._number)
        reached: dict[State, tuple[GroundAction, ...]] = {start: ()}
        front = [start]
        while front:
            for now in front:
                if all(literal.holds(now) for literal in wanted):
                    return tuple(_action(action, self._name) for action in reached[now])
            if len(reached[front[0]]) == longest:
                return None
            beyond = []
            for now in front:
                for action, after in self._graph.successors(now):
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


class _Graph:
    """Where actions lead among objects that have numbers for names, as far as it was asked."""

    def __init__(self, domain: Domain, count: int) -> None:
        (kind,) = domain.signature.supertypes
        self.names = tuple(f"object{number:03d}" for number in range(count))
        self._model = transition_model(Problem.create(domain, dict.fromkeys(self.names, kind), []))
        self._known: dict[State, Successors] = {}
        self._alike: dict[State, Successors] = {}

    def successors(self, state: State) -> Successors:
        if state not in self._known:
            renamed, back = self._first_alike(state)
            found = (
                (_action(action, back), _state(after, back)) for action, after in self._worked_out(renamed)
            )
            self._known[state] = sorted(found, key=lambda one: str(one[0]))
        return self._known[state]

    def _worked_out(self, state: State) -> Successors:
        if state not in self._alike:
            applied = ((action, self._model.apply(state, action)) for action in self._model.possible(state))
            self._alike[state] = [(action, after) for action, after in applied if after is not None]
        return self._alike[state]

    def _first_alike(self, state: State) -> tuple[State, Mapping[str, str]]:
        """Rename objects so that states which are the same but for names become one; and the way back."""

        def written(order: Sequence[str]) -> list[tuple[str, ...]]:
            to = dict(zip(order, self.names, strict=True))
            return sorted((atom.predicate, *(to[name] for name in atom.arguments)) for atom in state)

        order = min(permutations(self.names), key=written)
        return _state(state, dict(zip(order, self.names, strict=True))), dict(
            zip(self.names, order, strict=True)
        )


@cache
def _graph(domain: Domain, count: int) -> _Graph:
    return _Graph(domain, count)


def _atom(atom: Atom, to: Mapping[str, str]) -> Atom:
    return Atom(atom.predicate, tuple(to[name] for name in atom.arguments))


def _state(state: State, to: Mapping[str, str]) -> State:
    return frozenset(_atom(atom, to) for atom in state)


def _action(action: GroundAction, to: Mapping[str, str]) -> GroundAction:
    return GroundAction(action.name, tuple(to[name] for name in action.arguments))
