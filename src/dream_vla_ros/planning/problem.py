"""One problem: objects, a first state and a goal in a domain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from unified_planning.exceptions import UPException
from unified_planning.model.walkers import StateEvaluator

from . import pddl
from .domain import Domain, Scene
from .errors import ProblemError
from .terms import Atom, Literal, State, parse_literal

_OBJECT_NAME = re.compile(r"[a-z0-9_][a-z0-9_\-]*")


@dataclass(frozen=True, eq=False)
class Problem:
    """What is there, how it begins and what is wanted.

    :param objects: Type of each object, the domain's constants included.
    :param initial: The atoms that are true at first. What is not known to be true counts as false.
    :param goal: Conjuncts that must all hold, as unified-planning's expressions.
    :param base: The unified-planning problem with objects and goal, without an initial state.
    """

    domain: Domain
    name: str
    objects: Mapping[str, str]
    initial: State
    goal: tuple[pddl.Formula, ...]
    base: pddl.UpProblem

    @classmethod
    def from_file(cls, domain: Domain, path: str | Path) -> Problem:
        """Read a PDDL problem, whatever the domain it names is called.

        :raises ProblemError: Naming the file and what is wrong.
        """
        return cls.from_text(domain, pddl.read_text(path, ProblemError), str(path), Path(path).stem)

    @classmethod
    def from_text(cls, domain: Domain, text: str, source: str, name: str = "") -> Problem:
        """Read the text of a PDDL problem.

        :param source: Where it is from, for errors.
        :param name: The problem's name, if not the one in the text.
        :raises ProblemError: Naming the source and what is wrong.
        """
        parsed = pddl.read_problem(domain.pddl_text, text, source)
        initial = frozenset(
            pddl.atom_of(fluent)
            for fluent, value in parsed.explicit_initial_values.items()
            if value.is_true()
        )
        if parsed.timed_effects or parsed.trajectory_constraints:
            raise ProblemError(f"{source}: timed effects and trajectory constraints are not supported")
        return cls._build(domain, name or parsed.name or source, parsed, initial)

    @classmethod
    def create(
        cls,
        domain: Domain,
        objects: Mapping[str, str],
        goal: Sequence[Literal | str],
        initial: Iterable[Atom] = (),
        name: str = "task",
    ) -> Problem:
        """Make a problem from its parts.

        :param objects: Type of each object; the domain's constants come on top.
        :param goal: Literals that must all hold, as such or as text; see :func:`parse_literal`.
        :param initial: The atoms that are true at first.
        :raises ProblemError: Naming the object or predicate that does not fit.
        """
        base = domain.base.clone()
        for object_name, type_name in objects.items():
            _add_object(base, object_name, type_name)
        scene = Scene(domain, {o.name: o.type.name for o in base.all_objects})
        literals = [parse_literal(item) if isinstance(item, str) else item for item in goal]
        for literal in literals:
            check_atom(scene, literal.atom)
        known = frozenset(initial)
        for atom in known:
            check_atom(scene, atom)
        wanted = dict(pddl.fluent_expressions(base, (literal.atom for literal in literals)))
        for literal in literals:
            expression = wanted[literal.atom]
            base.add_goal(
                expression if literal.positive else base.environment.expression_manager.Not(expression)
            )
        return cls._build(domain, name, base, known)

    @classmethod
    def _build(cls, domain: Domain, name: str, base: pddl.UpProblem, initial: State) -> Problem:
        base = base.clone()
        base.explicit_initial_values.clear()
        goal = tuple(part for whole in base.goals for part in pddl.conjuncts(pddl.normal_form(whole, base)))
        objects = {o.name: o.type.name for o in base.all_objects}
        return cls(domain, name, objects, initial, goal, base)

    @cached_property
    def scene(self) -> Scene:
        """The domain with this problem's objects."""
        return Scene(self.domain, self.objects)

    @cached_property
    def goal_atoms(self) -> tuple[Atom, ...]:
        """The atoms the goal speaks of, each once."""
        found: dict[Atom, None] = {}
        for part in self.goal:
            found.update(dict.fromkeys(sorted(pddl.atoms_in(part))))
        return tuple(found)

    def unmet(self, state: State) -> tuple[str, ...]:
        """Return the parts of the goal that do not hold, in words."""
        evaluator = StateEvaluator(self.base)
        up_state = up_state_of(self.base, state, self.goal_atoms)
        return tuple(
            self.say(part)
            for part in self.goal
            if not evaluator.evaluate(part, up_state).bool_constant_value()
        )

    def reached(self, state: State) -> bool:
        """Say whether the goal holds."""
        return not self.unmet(state)

    def goal_statements(self) -> tuple[str, ...]:
        """Return the parts of the goal, in words."""
        return tuple(self.say(part) for part in self.goal)

    def say(self, formula: pddl.Formula) -> str:
        """Return a ground formula in normal form in words."""
        literal = pddl.literal_of(formula)
        if literal is not None:
            return self.scene.statement(literal)
        if formula.is_bool_constant():
            return "nothing" if formula.is_true() else "something impossible"
        word = " and " if formula.is_and() else " or "
        return f"({word.join(self.say(part) for part in formula.args)})"


def up_state_of(
    problem: pddl.UpProblem, state: State, relevant: Iterable[Atom] | None = None
) -> pddl.UpState:
    """Convert a state for unified-planning.

    :param relevant: Leave out all atoms but these; None takes all.
    """
    atoms = state if relevant is None else state.intersection(relevant)
    true = problem.environment.expression_manager.TRUE()
    return pddl.UpState({fluent: true for _, fluent in pddl.fluent_expressions(problem, atoms)}, problem)


def check_atom(scene: Scene, atom: Atom) -> None:
    """Check that an atom is part of a scene.

    :raises ProblemError: Naming the predicate or object that is not.
    """
    signature = scene.domain.signature
    schema = signature.predicates.get(atom.predicate)
    if schema is None:
        raise ProblemError(
            f"{atom}: domain '{scene.domain.name}' has no predicate '{atom.predicate}'; "
            f"there are {', '.join(signature.predicates)}"
        )
    if len(atom.arguments) != len(schema.parameters):
        raise ProblemError(
            f"{atom}: {schema} takes {len(schema.parameters)} objects, not {len(atom.arguments)}"
        )
    for name, parameter in zip(atom.arguments, schema.parameters, strict=True):
        if name not in scene.objects:
            raise ProblemError(
                f"{atom}: there is no object '{name}'; there are {', '.join(scene.objects) or 'none'}"
            )
        if not signature.is_a(scene.objects[name], parameter.type):
            raise ProblemError(
                f"{atom}: '{name}' is a {scene.objects[name]}, but {schema} wants a {parameter.type} there"
            )


def _add_object(base: pddl.UpProblem, name: str, type_name: str) -> None:
    if not _OBJECT_NAME.fullmatch(name):
        raise ProblemError(f"'{name}' cannot be the name of an object: use a-z, 0-9, _ and -")
    if not base.has_type(type_name):
        kinds = ", ".join(t.name for t in base.user_types)
        raise ProblemError(
            f"object '{name}': domain '{base.name}' has no type '{type_name}'; there are {kinds}"
        )
    try:
        base.add_object(name, base.user_type(type_name))
    except UPException as error:
        raise ProblemError(f"object '{name}' cannot be added: the domain uses that name already") from error
