"""Goals as text: what a model writes when it puts a task in words into predicates."""

from __future__ import annotations

import json
from collections.abc import Sequence

from .domain import Scene
from .errors import PlanParseError, ProblemError
from .loose_json import Read
from .plan_text import find_value
from .problem import check_atom
from .terms import Literal, parse_literal

_KEYS = ("goal", "goals", "predicates")


def format_goal(goal: Sequence[Literal]) -> str:
    """Write a goal as JSON on one line."""
    return json.dumps({"goal": [str(literal) for literal in goal]})


def parse_goal(text: str, scene: Scene) -> tuple[Literal, ...]:
    """Read the goal in a model's answer, as forgivingly as :func:`~.plan_text.parse_plan`.

    :raises PlanParseError: Saying what is wrong with the text, or which predicate or object does not exist.
    """

    def read_goal(read: Read) -> tuple[Literal, ...]:
        value = read.value
        if isinstance(value, dict):
            value = next((value[key] for key in _KEYS if key in value), None)
        if not isinstance(value, list) or not value or read.is_cut(value):
            raise PlanParseError("no 'goal' with a complete list of predicates")
        literals = []
        for item in value:
            if not isinstance(item, str):
                raise PlanParseError("the goal is not a list of predicates in quotes")
            try:
                literals.append(parse_literal(item))
                check_atom(scene, literals[-1].atom)
            except ProblemError as error:
                raise PlanParseError(str(error)) from error
        return tuple(dict.fromkeys(literals))

    return find_value(text, read_goal, _KEYS, 'Write {"goal": ["(predicate object ...)", ...]}')[0]
