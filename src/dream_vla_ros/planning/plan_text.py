"""Plans as text: written for a model to imitate, and read from whatever it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .description import PlanParameters
from .domain import Domain
from .errors import PlanParseError
from .loose_json import LooseJsonError, Read, read_json
from .terms import GroundAction

T = TypeVar("T")

_SURE_ACTION_KEYS = ("action", "action_name")
_ACTION_KEYS = (*_SURE_ACTION_KEYS, "name")
_PARAMETER_KEYS = ("parameters", "params", "arguments", "args")
_PLAN_KEYS = ("plan", "actions", "steps")
_CALL = re.compile(r"\(?\s*([A-Za-z_][\w\-]*)\s*[\s(]\s*([^()]*)\)*")
# A plan is a few thousand characters; beyond this a model has lost itself, and its last words count.
_MAX_CHARACTERS = 40_000
# Characters read in search of a plan, those of nested brackets read anew.
_MAX_EFFORT = 10 * _MAX_CHARACTERS
_SHOWN = 80


@dataclass(frozen=True)
class RawAction:
    """One action as the text has it, not yet checked.

    :param positional: Objects given in order.
    :param named: Objects given by the names of parameters.
    """

    name: str
    positional: tuple[str, ...] = ()
    named: Mapping[str, str] | None = None

    def __str__(self) -> str:
        named = (f"{key}: {value}" for key, value in (self.named or {}).items())
        return f"{self.name}({', '.join((*self.positional, *named))})"[:_SHOWN]


@dataclass(frozen=True)
class ParsedPlan:
    """A plan read from text.

    :param actions: In order; may be none.
    :param remarks: What was forgiven or left out in reading, in words.
    """

    actions: tuple[RawAction, ...]
    remarks: tuple[str, ...] = ()


def plan_value(domain: Domain, actions: Sequence[GroundAction]) -> dict[str, Any]:
    """Return a plan as the JSON value the domain's models write."""
    return {"plan": [action_value(domain, action) for action in actions]}


def action_value(domain: Domain, action: GroundAction) -> dict[str, Any]:
    """Return one action of a plan as a JSON value."""
    parameters: Any = list(action.arguments)
    if domain.words.plan_parameters is PlanParameters.BY_NAME:
        names = (p.name for p in domain.signature.actions[action.name].parameters)
        parameters = dict(zip(names, action.arguments, strict=True))
    return {"action": action.name, "parameters": parameters}


def format_plan(domain: Domain, actions: Sequence[GroundAction]) -> str:
    """Write a plan as JSON on one line, as :func:`json.dumps` does."""
    return json.dumps(plan_value(domain, actions))


def parse_plan(text: str) -> ParsedPlan:
    """Read the plan in a model's answer.

    Prose around it, code fences and small faults of its JSON are forgiven. Where there are several plans, the
    last one counts: models think first and answer then. A plan whose end is cut off keeps its whole actions.

    :raises PlanParseError: Saying what is wrong with the text. Nothing else is ever raised for text.
    """
    plan, remarks = find_value(
        text, _plan_in, _PLAN_KEYS, 'Write {"plan": [{"action": ..., "parameters": ...}]}'
    )
    return ParsedPlan(plan.actions, (*remarks, *plan.remarks))


def find_value(
    text: str, read_value: Callable[[Read], T], keys: Sequence[str], advice: str
) -> tuple[T, list[str]]:
    """Find the last JSON value in a text that can be read in some way.

    :param read_value: Reads it, or raises PlanParseError.
    :param keys: A value with one of these is meant to be it, so what is wrong with it is worth telling.
    :param advice: What to write instead, for errors.
    :returns: What was read, and what was forgiven on the way.
    :raises PlanParseError: Saying what is wrong with the text.
    """
    remarks: list[str] = []
    if len(text) > _MAX_CHARACTERS:
        remarks.append(f"only the last {_MAX_CHARACTERS} of {len(text)} characters were read")
        text = text[-_MAX_CHARACTERS:]
    if not text.strip():
        raise PlanParseError("the answer is empty")
    found: list[T] = []
    problem, weight = "", -1
    position, effort = 0, 0
    while effort < _MAX_EFFORT and (start := _next_bracket(text, position)) is not None:
        position = start + 1
        try:
            read = read_json(text, start)
        except LooseJsonError as error:
            effort += error.position - start + 1
            if weight <= 1:
                around = " ".join(text[max(0, error.position - 20) : error.position + 20].split())
                problem, weight = f"{error}, near '{around}'", 1
            continue
        effort += read.end - start + 1
        try:
            found.append(read_value(read))
            position = read.end
        except PlanParseError as error:
            importance = 2 if isinstance(read.value, dict) and _get(read.value, keys) is not None else 0
            if importance >= weight:
                problem, weight = str(error), importance
    if found:
        return found[-1], remarks
    if problem:
        raise PlanParseError(f"the answer cannot be used: {problem}")
    raise PlanParseError(
        f"the answer holds no JSON; it begins with '{' '.join(text[:_SHOWN].split())}'. {advice}"
    )


def _next_bracket(text: str, position: int) -> int | None:
    return min((at for bracket in "{[" if (at := text.find(bracket, position)) >= 0), default=None)


def _plan_in(read: Read) -> ParsedPlan:
    remarks = list(read.remarks)
    entries = _entries(read.value)
    if read.cut:
        remarks.append("the plan's end is cut off")
    actions: list[RawAction] = []
    for number, entry in enumerate(entries, 1):
        if read.is_cut(entry):
            break
        try:
            actions.append(_action(entry))
        except PlanParseError as error:
            if not actions:
                raise PlanParseError(f"action {number} of the plan {error}") from error
            remarks.append(f"action {number} of the plan {error}; it and what follows is left out")
            break
    if read.cut and not actions:
        raise PlanParseError("the plan is cut off before its first action is complete")
    return ParsedPlan(tuple(actions), tuple(remarks))


def _entries(value: Any) -> list[Any]:
    if isinstance(value, dict):
        plan = _get(value, _PLAN_KEYS)
        if isinstance(plan, dict):
            plan = [plan]
        if isinstance(plan, list):
            return plan
        if _get(value, _SURE_ACTION_KEYS) is not None:
            return [value]
        if any(key in value for key in _PLAN_KEYS):
            raise PlanParseError("'plan' is not a list of actions")
        raise PlanParseError(f"a JSON object without 'plan'; it has {_shown(list(value))}")
    if value and isinstance(value[0], dict) and _get(value[0], _ACTION_KEYS) is not None:
        return value
    raise PlanParseError("a JSON list without actions")


def _action(entry: Any) -> RawAction:
    if isinstance(entry, str):
        return _call(entry)
    if not isinstance(entry, dict):
        raise PlanParseError(f"is not an object with 'action' and 'parameters' but {_shown(entry)}")
    name = _get(entry, _ACTION_KEYS)
    if not isinstance(name, str) or not name.strip():
        raise PlanParseError(f"has no 'action' that is a name; it has {_shown(list(entry))}")
    parameters = _get(entry, _PARAMETER_KEYS)
    if parameters is None:
        if "(" in name:
            return _call(name)
        rest = {
            k: v.strip() for k, v in entry.items() if k.lower() not in _ACTION_KEYS and isinstance(v, str)
        }
        return RawAction(name.strip(), (), rest)
    if isinstance(parameters, dict):
        named = {str(key): _object_name(value) for key, value in parameters.items()}
        return RawAction(name.strip(), (), named)
    if isinstance(parameters, list):
        return RawAction(name.strip(), tuple(_object_name(value) for value in parameters))
    return RawAction(
        name.strip(), tuple(part.strip() for part in _object_name(parameters).split(",") if part.strip())
    )


def _call(text: str) -> RawAction:
    match = _CALL.fullmatch(text.strip())
    if match is None:
        raise PlanParseError(f"is {_shown(text)}, not an object with 'action' and 'parameters'")
    separator = "," if "," in match.group(2) else None
    parts = (part.strip() for part in match.group(2).split(separator))
    return RawAction(match.group(1), tuple(part for part in parts if part))


def _get(value: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Return the value under the first key there is, whatever its case."""
    lower = {key.strip().lower(): entry for key, entry in value.items()}
    return next((lower[key] for key in keys if key in lower), None)


def _object_name(value: Any) -> str:
    if not isinstance(value, str):
        raise PlanParseError(f"has {_shown(value)} where the name of an object should be")
    return value.strip()


def _shown(value: Any) -> str:
    text = str(value)
    return f"'{text[:_SHOWN]}{'...' if len(text) > _SHOWN else ''}'"
