"""PDDL files through unified-planning, and its expressions in this room's terms.

unified-planning keeps names and types in one environment per process (its reader fails in any other), so all
of this must be called from one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from unified_planning.environment import get_environment
from unified_planning.io import PDDLReader
from unified_planning.model import FNode, InstantaneousAction, Problem, UPState
from unified_planning.model.walkers import ExpressionQuantifiersRemover, Nnf

from .errors import DomainError, ProblemError
from .signature import OBJECT, Parameter, Schema, Signature
from .terms import Atom, Literal

# It would print who wrote the planner at every call.
get_environment().credits_stream = None

UpProblem: TypeAlias = Problem
Formula: TypeAlias = FNode
UpState: TypeAlias = UPState


def read_domain(text: str, source: str) -> UpProblem:
    """Read the text of a PDDL domain.

    :param source: Where it is from, for errors.
    :raises DomainError: Naming the source and what is wrong.
    """
    problem = _parse(text, None, source, DomainError)
    for fluent in problem.fluents:
        if not fluent.type.is_bool_type():
            raise DomainError(
                f"{source}: '{fluent.name}' is a numeric function; only predicates are supported"
            )
    for action in problem.actions:
        if not isinstance(action, InstantaneousAction):
            raise DomainError(
                f"{source}: action '{action.name}' has a duration; only plain actions are supported"
            )
    if not problem.actions:
        raise DomainError(f"{source}: the domain has no actions")
    return problem


def read_problem(domain_text: str, text: str, source: str) -> UpProblem:
    """Read the text of a PDDL problem.

    :param domain_text: The domain it is read against, whatever domain it names itself.
    :param source: Where the problem is from, for errors.
    :raises ProblemError: Naming the source and what is wrong.
    """
    return _parse(domain_text, text, source, ProblemError)


def read_text(path: str | Path, error: type[DomainError] | type[ProblemError]) -> str:
    """Read a file.

    :param error: Raised, naming the file, if it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"{path} cannot be read: {cause}") from cause


def signature_of(problem: UpProblem) -> Signature:
    """Return the names a domain declares."""

    def parameters(owner: Iterable) -> tuple[Parameter, ...]:
        return tuple(Parameter(p.name, p.type.name if p.type.is_user_type() else OBJECT) for p in owner)

    return Signature(
        supertypes={t.name: t.father.name if t.father is not None else None for t in problem.user_types},
        predicates={f.name: Schema(f.name, parameters(f.signature)) for f in problem.fluents},
        actions={a.name: Schema(a.name, parameters(a.parameters)) for a in problem.actions},
        constants={o.name: o.type.name for o in problem.all_objects},
    )


def atom_of(expression: Formula) -> Atom:
    """Convert a ground fluent expression."""
    return Atom(expression.fluent().name, tuple(argument.object().name for argument in expression.args))


def fluent_expressions(problem: UpProblem, atoms: Iterable[Atom]) -> Iterator[tuple[Atom, Formula]]:
    """Convert atoms, which must fit the problem, to expressions."""
    objects = {o.name: o for o in problem.all_objects}
    for atom in atoms:
        yield atom, problem.fluent(atom.predicate)(*(objects[name] for name in atom.arguments))


def normal_form(formula: Formula, problem: UpProblem) -> Formula:
    """Rewrite a formula without quantifiers, and with negation of atoms only."""
    remover = ExpressionQuantifiersRemover(problem.environment)
    return (
        Nnf(problem.environment).get_nnf_expression(remover.remove_quantifiers(formula, problem)).simplify()
    )


def conjuncts(formula: Formula) -> Iterator[Formula]:
    """Take a conjunction apart."""
    if formula.is_and():
        for part in formula.args:
            yield from conjuncts(part)
    elif not formula.is_true():
        yield formula


def literal_of(formula: Formula) -> Literal | None:
    """Convert a formula if it is one ground literal."""
    if formula.is_fluent_exp():
        return Literal(atom_of(formula))
    if formula.is_not() and formula.args[0].is_fluent_exp():
        return Literal(atom_of(formula.args[0]), False)
    return None


def atoms_in(formula: Formula) -> frozenset[Atom]:
    """Return the atoms a ground formula without quantifiers speaks of."""
    expressions = formula.environment.free_vars_extractor.get(formula)
    return frozenset(atom_of(expression) for expression in expressions)


def _parse(
    domain_text: str, problem_text: str | None, source: str, error: type[DomainError] | type[ProblemError]
) -> UpProblem:
    try:
        parsed = PDDLReader().parse_problem_string(domain_text, problem_text)
    except Exception as cause:  # pyparsing, SyntaxError, AssertionError, KeyError: its reader raises them all
        detail = " ".join(str(cause).split()) or type(cause).__name__
        raise error(f"{source} is not PDDL that can be read: {detail}") from cause
    if not isinstance(parsed, Problem):
        raise error(f"{source}: hierarchical and multi-agent planning are not supported")
    return parsed
