"""The names of a PDDL domain and what they take: types, predicates, actions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .terms import Atom, GroundAction

OBJECT = "object"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a predicate or action.

    :param name: Without the question mark.
    :param type: Name of its type; ``object`` where any object will do.
    """

    name: str
    type: str


@dataclass(frozen=True)
class Schema:
    """A predicate or an action with its parameters."""

    name: str
    parameters: tuple[Parameter, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{p.name}: {p.type}' for p in self.parameters)})"


@dataclass(frozen=True)
class Signature:
    """All names of a domain.

    :param supertypes: Each type's parent, or None.
    :param constants: Type of each object the domain itself declares.
    """

    supertypes: Mapping[str, str | None]
    predicates: Mapping[str, Schema]
    actions: Mapping[str, Schema]
    constants: Mapping[str, str]

    def is_a(self, type_name: str, wanted: str) -> bool:
        """Say whether objects of one type can stand where another is asked for."""
        current: str | None = type_name
        while current is not None:
            if current == wanted:
                return True
            current = self.supertypes.get(current)
        return wanted == OBJECT

    def fitting(self, wanted: str, objects: Mapping[str, str]) -> tuple[str, ...]:
        """List the objects that can stand where a type is asked for.

        :param objects: Type of each object.
        """
        return tuple(name for name, type_name in objects.items() if self.is_a(type_name, wanted))

    def ground_atoms(self, objects: Mapping[str, str]) -> Iterator[Atom]:
        """List every atom over some objects."""
        for schema in self.predicates.values():
            for arguments in self._groundings(schema, objects):
                yield Atom(schema.name, arguments)

    def ground_actions(self, objects: Mapping[str, str]) -> Iterator[GroundAction]:
        """List every action over some objects, possible or not."""
        for schema in self.actions.values():
            for arguments in self._groundings(schema, objects):
                yield GroundAction(schema.name, arguments)

    def _groundings(self, schema: Schema, objects: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
        return itertools.product(*(self.fitting(p.type, objects) for p in schema.parameters))
