"""What actions need and do in a problem, by unified-planning's sequential simulator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from unified_planning.engines.sequential_simulator import UPSequentialSimulator
from unified_planning.exceptions import UPInvalidActionError
from unified_planning.model.walkers import StateEvaluator

from . import pddl
from .errors import InvalidActionError
from .problem import Problem, up_state_of
from .terms import Atom, GroundAction, Literal, State


@dataclass(frozen=True)
class Condition:
    """One thing an action needs.

    :param words: It in words.
    :param literal: It as a literal, where it is one.
    :param atoms: What has to be known to judge it.
    """

    words: str
    literal: Literal | None
    atoms: frozenset[Atom]


@dataclass(frozen=True, eq=False)
class _Effect:
    condition: pddl.Formula
    literal: Literal


@dataclass(frozen=True, eq=False)
class _Operator:
    conditions: tuple[pddl.Formula, ...]
    effects: tuple[_Effect, ...]


@lru_cache(maxsize=16)
def transition_model(problem: Problem) -> TransitionModel:
    """Return the transition model of a problem, made once: grounding its actions takes a while."""
    return TransitionModel(problem)


class TransitionModel:
    """Says what actions of a problem need, do and change.

    Not for use from several threads at once.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._base = problem.base
        self._objects = {o.name: o for o in self._base.all_objects}
        self._evaluator = StateEvaluator(self._base)
        self._operators: dict[GroundAction, _Operator] = {}
        self._simulators: dict[State, UPSequentialSimulator] = {}

    @cached_property
    def actions(self) -> tuple[GroundAction, ...]:
        """All actions over the problem's objects, possible or not."""
        return tuple(self.problem.domain.signature.ground_actions(self.problem.objects))

    def check(self, action: GroundAction) -> None:
        """Check that an action is part of the problem.

        :raises InvalidActionError: Saying what about it is not.
        """
        signature = self.problem.domain.signature
        schema = signature.actions.get(action.name)
        if schema is None:
            raise InvalidActionError(
                f"there is no action '{action.name}'; there are {', '.join(signature.actions)}"
            )
        if len(action.arguments) != len(schema.parameters):
            raise InvalidActionError(
                f"{schema} takes {len(schema.parameters)} objects, not {len(action.arguments)}"
            )
        objects = self.problem.objects
        for name, parameter in zip(action.arguments, schema.parameters, strict=True):
            if name not in objects:
                raise InvalidActionError(
                    f"there is no object '{name}'; there are {', '.join(objects) or 'none'}"
                )
            if not signature.is_a(objects[name], parameter.type):
                raise InvalidActionError(
                    f"'{name}' is a {objects[name]}, but {schema} wants a {parameter.type} there"
                )

    def conditions(self, action: GroundAction) -> tuple[Condition, ...]:
        """Return what an action needs; all of it has to hold."""
        return tuple(self._condition(formula) for formula in self._operator(action).conditions)

    def missing(self, state: State, action: GroundAction) -> tuple[Condition, ...]:
        """Return what an action needs and a state does not give."""
        operator = self._operator(action)
        up_state = self._up_state(state)
        return tuple(
            self._condition(formula) for formula in operator.conditions if not self._holds(formula, up_state)
        )

    def atoms_to_know(self, action: GroundAction) -> tuple[Atom, ...]:
        """Return the atoms that say whether an action is possible and what it will do, each once."""
        operator = self._operator(action)
        formulas = [*operator.conditions, *(effect.condition for effect in operator.effects)]
        return tuple(dict.fromkeys(atom for formula in formulas for atom in sorted(pddl.atoms_in(formula))))

    def effects(self, state: State, action: GroundAction) -> tuple[Literal, ...]:
        """Return all that an action makes true or false when done in a state, changed by it or not.

        Where an action makes an atom both false and true, true wins, as PDDL says.
        """
        up_state = self._up_state(state)
        made: dict[Atom, bool] = {}
        for effect in self._operator(action).effects:
            if self._holds(effect.condition, up_state):
                atom = effect.literal.atom
                made[atom] = made.get(atom, False) or effect.literal.positive
        return tuple(Literal(atom, value) for atom, value in made.items())

    def apply(self, state: State, action: GroundAction) -> State | None:
        """Return the state after an action, or None if it is not possible."""
        self.check(action)
        simulator = self._simulator(state)
        up_action = self._base.action(action.name)
        arguments = tuple(self._objects[name] for name in action.arguments)
        try:
            after = simulator.apply(self._up_state(state), up_action, arguments)
        except UPInvalidActionError:  # with these arguments it can never be done, or never does anything
            return None if self.missing(state, action) else state
        if after is None:
            return None
        touched = {effect.literal.atom for effect in self._operator(action).effects}
        now = {a for a, f in pddl.fluent_expressions(self._base, touched) if after.get_value(f).is_true()}
        return frozenset((state - touched) | now)

    def possible(self, state: State) -> Iterator[GroundAction]:
        """List the actions that are possible in a state."""
        return (action for action in self.actions if not self.missing(state, action))

    @cached_property
    def static_predicates(self) -> frozenset[str]:
        """The predicates that no action changes."""
        changed = {e.fluent.fluent().name for a in self._base.actions for e in a.effects}
        return frozenset(self.problem.domain.signature.predicates) - changed

    def _condition(self, formula: pddl.Formula) -> Condition:
        return Condition(self.problem.say(formula), pddl.literal_of(formula), pddl.atoms_in(formula))

    def _holds(self, formula: pddl.Formula, up_state: pddl.UpState) -> bool:
        return self._evaluator.evaluate(formula, up_state).bool_constant_value()

    def _up_state(self, state: State) -> pddl.UpState:
        return up_state_of(self._base, state)

    def _operator(self, action: GroundAction) -> _Operator:
        if action not in self._operators:
            self.check(action)
            self._operators[action] = self._ground(action)
        return self._operators[action]

    def _ground(self, action: GroundAction) -> _Operator:
        lifted = self._base.action(action.name)
        manager = self._base.environment.expression_manager
        arguments = {
            manager.ParameterExp(parameter): manager.ObjectExp(self._objects[name])
            for parameter, name in zip(lifted.parameters, action.arguments, strict=True)
        }

        def ground(formula: pddl.Formula) -> pddl.Formula:
            return pddl.normal_form(formula.substitute(arguments), self._base)

        conditions = tuple(
            part for formula in lifted.preconditions for part in pddl.conjuncts(ground(formula))
        )
        effects = []
        for effect in (part for whole in lifted.effects for part in whole.expand_effect(self._base)):
            condition = ground(effect.condition)
            if not condition.is_false():
                atom = pddl.atom_of(effect.fluent.substitute(arguments))
                effects.append(_Effect(condition, Literal(atom, effect.value.is_true())))
        return _Operator(conditions, tuple(effects))

    def _simulator(self, state: State) -> UPSequentialSimulator:
        # The simulator takes the value of predicates that never change from its problem, not from the state.
        fixed = frozenset(atom for atom in state if atom.predicate in self.static_predicates)
        if fixed not in self._simulators:
            problem = self._base.clone()
            for _, fluent in pddl.fluent_expressions(problem, fixed):
                problem.set_initial_value(fluent, True)
            self._simulators[fixed] = UPSequentialSimulator(problem)
        return self._simulators[fixed]
