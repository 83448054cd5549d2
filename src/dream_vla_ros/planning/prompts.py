"""What the model is told when it is to plan, or to put a task into predicates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .description import PlanParameters
from .domain import Domain, Scene
from .interfaces import Message
from .outcomes import ActionRecord
from .plan_text import action_value

# Older actions tell little about what to do next and cost attention.
_HISTORY_LENGTH = 20

_PLANNER = """\
You plan what a robot does. You see the scene as it is now, are told what it should be, which actions there \
are, and what came of the actions tried so far. Write the whole plan from now to the goal. Only its first \
action will be carried out; then you are asked again, with new images.
Answer with JSON and nothing else, in this form:
{form}
If an action failed, think about why before you write it again."""

_TRANSLATOR = """\
You turn a task in words into what must be true of the scene when it is done, as a list of predicates.
Answer with JSON and nothing else, in this form:
{"goal": ["(predicate object object)", "(not (predicate object))"]}"""


def planner_messages(
    scene: Scene,
    goal: Sequence[str],
    history: Sequence[ActionRecord] = (),
    *,
    images: int = 1,
    facts: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> list[Message]:
    """Ask for a plan.

    :param goal: What must hold or be done, each part in words.
    :param history: Actions tried so far, in order.
    :param images: How many images of the scene are given.
    :param facts: What is known but cannot be seen, in words.
    :param notes: Remarks on how it is going.
    """
    domain = scene.domain
    sections = [
        _section("Scene", [domain.words.description]),
        _section("Objects", _objects(scene)),
        _section("Actions", _actions(domain)),
        _section("Known", [f"- {_sentence(fact)}" for fact in facts]),
        _section("Goal", [f"- {_sentence(part)}" for part in goal]),
        _section(
            "Actions tried so far", [_outcome(domain, r) for r in history[-_HISTORY_LENGTH:]] or ["none"]
        ),
        _section("Note", [_sentence(note) for note in notes]),
        "## Scene now",
    ]
    system = _PLANNER.replace("{form}", _form(domain))
    return _chat(system, "\n\n".join(section for section in sections if section), images)


def goal_messages(scene: Scene, task: str, *, images: int = 1) -> list[Message]:
    """Ask for the predicates that must hold when a task in words is done."""
    words = scene.domain.words.predicates
    predicates = [
        f"- {_lisp(schema.name, [f'?{p.name}' for p in schema.parameters])}: "
        f"{words[schema.name].statement.replace('{', '?').replace('}', '')}"
        for schema in scene.domain.signature.predicates.values()
    ]
    sections = [
        _section("Scene", [scene.domain.words.description]),
        _section("Objects", _objects(scene)),
        _section("Predicates", predicates),
        _section("Task", [task]),
        "## Scene now",
    ]
    return _chat(_TRANSLATOR, "\n\n".join(section for section in sections if section), images)


def _chat(system: str, text: str, images: int) -> list[Message]:
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": text},
        *({"type": "image"} for _ in range(images)),
    ]
    return [
        {"role": "system", "content": [{"type": "text", "text": system}]},
        {"role": "user", "content": parts},
    ]


def _section(title: str, lines: Sequence[str]) -> str:
    body = "\n".join(line for line in lines if line)
    return f"## {title}\n{body}" if body else ""


def _objects(scene: Scene) -> list[str]:
    return [f"- {name}: {scene.describe(name)} ({kind})" for name, kind in scene.objects.items()]


def _actions(domain: Domain) -> list[str]:
    return [f"- {s}: {domain.words.actions[s.name].description}" for s in domain.signature.actions.values()]


def _form(domain: Domain) -> str:
    named = domain.words.plan_parameters is PlanParameters.BY_NAME
    parameters = '{"parameter": "object", ...}' if named else '["object", ...]'
    return f'{{"plan": [{{"action": "name", "parameters": {parameters}}}, ...]}}'


def _outcome(domain: Domain, record: ActionRecord) -> str:
    known = domain.signature.actions.get(record.action.name)
    if known is not None and len(known.parameters) == len(record.action.arguments):
        value = action_value(domain, record.action)
    else:
        value = {"action": record.action.name, "parameters": list(record.action.arguments)}
    value["outcome"] = record.message
    return json.dumps(value)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def _lisp(name: str, arguments: Sequence[str]) -> str:
    return f"({' '.join([name, *arguments])})"
