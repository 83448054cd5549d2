"""From the names a model writes to the actions of a problem."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from .domain import Scene
from .errors import InvalidActionError
from .plan_text import RawAction
from .signature import Parameter, Schema
from .terms import GroundAction

_ARTICLES = ("the ", "a ", "an ")


class Resolver:
    """Finds the actions and objects of a scene by the names a model gives them.

    Case, blanks, underscores and hyphens do not matter, nor a leading "the"; an object may also be called by
    its description.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._actions = _Names((name, name) for name in scene.domain.signature.actions)
        self._objects = _Names(
            [
                *((name, name) for name in scene.objects),
                *((scene.describe(name), name) for name in scene.objects),
            ]
        )

    def resolve(self, raw: RawAction) -> GroundAction:
        """Find the action a model means.

        :raises InvalidActionError: Saying what about it is not part of the problem, for the model to read.
        """
        name = self._actions.find(raw.name)
        if not name:
            known = self._scene.domain.signature.actions
            raise InvalidActionError(
                f"there is no action '{raw.name[:60]}'{_hint(raw.name, known)}; "
                f"the actions are {', '.join(known)}"
            )
        schema = self._scene.domain.signature.actions[name]
        given = raw.positional if raw.named is None else self._in_order(schema, raw.named)
        if len(given) != len(schema.parameters):
            raise InvalidActionError(f"{schema} takes {len(schema.parameters)} objects, not {len(given)}")
        return GroundAction(
            name,
            tuple(self._object(text, p, schema) for text, p in zip(given, schema.parameters, strict=True)),
        )

    def _in_order(self, schema: Schema, named: Mapping[str, str]) -> tuple[str, ...]:
        plain = {_plain(key).rstrip("?"): value for key, value in named.items()}
        by_name = [_plain(p.name) for p in schema.parameters]
        by_type = [_plain(p.type) for p in schema.parameters]
        for keys in (by_name, by_type):
            if len(set(keys)) == len(keys) and set(keys) <= set(plain):
                return tuple(plain[key] for key in keys)
        if len(plain) == len(by_name) and not set(plain) & {*by_name, *by_type}:
            return tuple(plain.values())  # names of its own: then the order has to do
        missing = [p.name for p, key in zip(schema.parameters, by_name, strict=True) if key not in plain]
        if len(plain) != len(by_name):
            raise InvalidActionError(
                f"{schema} takes {len(by_name)} parameters, not {len(plain)}"
                + (f"; '{missing[0]}' is missing" if missing else "")
            )
        raise InvalidActionError(
            f"{schema} has no parameter '{_unknown(plain, by_name)}'; '{missing[0]}' is missing"
        )

    def _object(self, text: str, parameter: Parameter, schema: Schema) -> str:
        name = self._objects.find(text)
        objects = self._scene.objects
        if name == "":
            raise InvalidActionError(
                f"'{text[:60]}' can mean several objects; use their names: {', '.join(objects)}"
            )
        if name is None:
            raise InvalidActionError(
                f"there is no object '{text[:60]}'{_hint(text, objects)}; "
                f"the objects are {', '.join(objects)}"
            )
        if not self._scene.domain.signature.is_a(objects[name], parameter.type):
            fitting = self._scene.domain.signature.fitting(parameter.type, objects)
            raise InvalidActionError(
                f"'{name}' is a {objects[name]}, but {schema} wants a {parameter.type} as its "
                f"{parameter.name}: {', '.join(fitting) or 'there is none'}"
            )
        return name


class _Names:
    """Finds a name by itself, or by what it is called loosely if only one name is called that."""

    def __init__(self, called: Iterable[tuple[str, str]]) -> None:
        self._loose: dict[str, str] = {}
        self._exact: set[str] = set()
        for text, name in called:
            self._exact.add(name)
            self._loose[_plain(text)] = name if self._loose.get(_plain(text), name) == name else ""

    def find(self, text: str) -> str | None:
        """Return the name; empty if it can be several, None if it is none."""
        exact = text.strip().lower()
        return exact if exact in self._exact else self._loose.get(_plain(text))


def _plain(text: str) -> str:
    plain = " ".join(re.sub(r"[\s_\-\"'`.]+", " ", text.lower()).split())
    for article in _ARTICLES:
        if plain.startswith(article):
            return plain[len(article) :]
    return plain


def _unknown(given: Iterable[str], known: Iterable[str]) -> str:
    return next(iter(sorted(set(given) - set(known))), "")


def _hint(text: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(text[:60].lower(), list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
