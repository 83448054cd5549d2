"""What can be wrong with a domain, a problem, a plan or an action."""

from __future__ import annotations


class PlanningError(ValueError):
    """Anything this room refuses; the message names the file, name or text and what to do."""


class DomainError(PlanningError):
    """A domain's PDDL or YAML file that is missing, malformed or inconsistent."""


class ProblemError(PlanningError):
    """Objects, an initial state or a goal that do not fit the domain."""


class InvalidActionError(PlanningError):
    """An action, or arguments of one, that are not part of the problem."""


class PlanParseError(PlanningError):
    """Text that holds no plan."""


class PlannerError(PlanningError):
    """The classical planner could not be run."""


class GrammarError(PlanningError):
    """A grammar that accepts nothing, or nothing of the length asked for."""
