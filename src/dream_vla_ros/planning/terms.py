"""Ground atoms, literals and actions, and how they are written.

Names are lower case, as PDDL does not tell cases apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .errors import ProblemError

_NAME = re.compile(r"[a-z0-9_][a-z0-9_\-]*")
_TOKEN = re.compile(r"\(|\)|,|[^\s(),]+")
# Longer than any ground literal; keeps error messages about junk readable and parsing cheap.
_MAX_LITERAL_LENGTH = 1000


@dataclass(frozen=True, order=True)
class Atom:
    """A predicate of objects, for example ``(on red blue)``."""

    predicate: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"({' '.join((self.predicate, *self.arguments))})"


State: TypeAlias = frozenset[Atom]
"""The atoms that are true; all others are false."""


@dataclass(frozen=True, order=True)
class Literal:
    """An atom, or its negation."""

    atom: Atom
    positive: bool = True

    def __str__(self) -> str:
        return str(self.atom) if self.positive else f"(not {self.atom})"

    def holds(self, state: State) -> bool:
        """Say whether it is true in a state."""
        return (self.atom in state) == self.positive


@dataclass(frozen=True, order=True)
class GroundAction:
    """An action with the objects it is done to, in the order of its parameters."""

    name: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)})"


NO_ACTION = GroundAction("")
"""Stands where an action was asked for and none was given."""


def parse_literal(text: str) -> Literal:
    """Read a ground literal.

    :param text: ``(on red blue)``, ``(not (clear blue))``; also ``on(red, blue)`` and ``not on(red, blue)``.
    :raises ProblemError: Saying what is wrong with the text.
    """
    if len(text) > _MAX_LITERAL_LENGTH:
        raise ProblemError(f"'{text[:60]}...' is too long for one predicate ({len(text)} characters)")
    tokens = _TOKEN.findall(text.lower())
    words = [token for token in tokens if token not in ("(", ")", ",")]
    if not words or words == ["not"]:
        raise ProblemError(f"'{text}' names no predicate; write it like (on red blue)")
    positive = words[0] != "not"
    if not positive:
        words = words[1:]
    for word in words:
        if not _NAME.fullmatch(word):
            raise ProblemError(f"'{text}': '{word}' is not a name; write it like (on red blue)")
    if not _is_well_formed("".join(_shape(tokens)), positive):
        raise ProblemError(
            f"'{text}' is not one predicate; write it like (on red blue) or (not (clear blue))"
        )
    return Literal(Atom(words[0], tuple(words[1:])), positive)


def _shape(tokens: list[str]) -> Iterator[str]:
    for token in tokens:
        yield token if token in ("(", ")", ",") else "!" if token == "not" else "w"


def _is_well_formed(shape: str, positive: bool) -> bool:
    lisp = r"\(w+\)"
    call = r"w(\((w(,w)*)?\))?"
    bare = r"w+"
    body = f"({lisp}|{call}|{bare})"
    pattern = body if positive else rf"(\(!{body}\)|!{body}|!\({body}\))"
    return re.fullmatch(pattern, shape) is not None
