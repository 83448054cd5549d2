"""What a domain's names mean in words: the YAML file beside its PDDL file."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from .errors import DomainError
from .pddl import read_text
from .signature import Schema, Signature

E = TypeVar("E", bound=Enum)

_MAX_YAML_CHARACTERS = 1_000_000


class PlanParameters(str, Enum):
    """How a plan's JSON gives an action its objects."""

    BY_NAME = "by_name"
    """``{"block": "red", "column": "c1"}``"""
    BY_POSITION = "by_position"
    """``["red", "c1"]``"""


class Ask(str, Enum):
    """Whether the scene is asked for a predicate."""

    ALWAYS = "always"
    NEVER = "never"
    """What the initial state says of it is believed, and false where it says nothing."""


@dataclass(frozen=True)
class PredicateWords:
    """A predicate in words; ``{name}`` stands for the object in the parameter of that name.

    :param question: Yes exactly if the atom holds.
    :param statement: Says that it holds, without a capital and a full stop.
    :param negation: Says that it does not; empty for "it is not true that" before the statement.
    """

    question: str
    statement: str
    negation: str = ""
    ask: Ask = Ask.ALWAYS


@dataclass(frozen=True)
class Slip:
    """Where a failed action may leave its object instead, in a symbolic simulation.

    :param parameter: The parameter of the action that comes out wrong.
    :param neighbours: A predicate of two objects of that parameter's type that lie side by side.
    :param place: A predicate of the action's first object and where it is now.
    """

    parameter: str
    neighbours: str
    place: str


@dataclass(frozen=True)
class ActionWords:
    """An action in words.

    :param instruction: What the policy is told, for example ``pick up the {block}``.
    :param description: What it does and needs, for the model that plans.
    """

    instruction: str
    description: str = ""
    slip: Slip | None = None


@dataclass(frozen=True)
class TypeWords:
    """Objects of a type in words.

    :param description: ``{name}`` stands for the object's name.
    :param present: A question that says whether the ``{object}`` is there; empty where it cannot be asked.
    """

    description: str = ""
    present: str = ""


@dataclass(frozen=True)
class KnownObject:
    """An object the domain knows by name.

    :param description: Empty for its type's.
    """

    type: str
    description: str = ""


@dataclass(frozen=True)
class Description:
    """A domain in words. See the fields of its parts."""

    description: str
    plan_parameters: PlanParameters
    predicates: Mapping[str, PredicateWords]
    actions: Mapping[str, ActionWords]
    types: Mapping[str, TypeWords] = field(default_factory=dict)
    objects: Mapping[str, KnownObject] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


def placeholders(template: str) -> tuple[str, ...]:
    """Return the names in braces.

    :raises ValueError: If the braces do not match, or hold more than a name.
    """
    names = []
    for _, name, spec, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if not name.isidentifier() and not name.replace("-", "_").isidentifier():
            raise ValueError(f"'{{{name}}}' is not a name in braces")
        if spec or conversion:
            raise ValueError(f"'{{{name}}}' must hold a name and nothing else")
        names.append(name)
    return tuple(names)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values for the names in braces; nothing but plain names is looked up."""
    parts = []
    for text, name, _, _ in string.Formatter().parse(template):
        parts.append(text)
        if name is not None:
            parts.append(values[name])
    return "".join(parts)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a domain's YAML file.

    :raises DomainError: If it cannot be read or is not a mapping.
    """
    text = read_text(path, DomainError)
    if len(text) > _MAX_YAML_CHARACTERS:
        raise DomainError(f"{path} has {len(text)} characters; that is no description of a domain")
    try:
        loader = _Loader(text)
        try:
            data = loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError) as error:
        raise DomainError(f"{path} is not YAML that can be used: {error}") from error
    if not isinstance(data, dict):
        raise DomainError(f"{path} must be a mapping with the keys {', '.join(_KEYS)}")
    return data


def build_description(data: Mapping[str, Any], signature: Signature, source: str) -> Description:
    """Check what a domain's YAML file says against its PDDL.

    :param data: As :func:`read_yaml` returns it.
    :raises DomainError: Naming the file, and the predicate, action, type or object.
    """
    return _Builder(signature, source).build(data)


_KEYS = ("pddl", "aliases", "description", "plan_parameters", "types", "objects", "predicates", "actions")


class _Loader(yaml.SafeLoader):
    """The safe loader with every plain word left as text, or it would read the predicate ``on`` as true."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key}' is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}


class _Builder:
    def __init__(self, signature: Signature, source: str) -> None:
        self._signature = signature
        self._source = source

    def build(self, data: Mapping[str, Any]) -> Description:
        self._refuse_unknown(data, _KEYS, "the file")
        predicates = {
            name: self._predicate(entry, self._signature.predicates[name])
            for name, entry in self._entries(data, "predicates", self._signature.predicates, complete=True)
        }
        actions = {
            name: self._action(entry, self._signature.actions[name])
            for name, entry in self._entries(data, "actions", self._signature.actions, complete=True)
        }
        return Description(
            description=self._text(data, "description", "the file"),
            plan_parameters=self._choice(
                data, "plan_parameters", PlanParameters, PlanParameters.BY_NAME, "the file"
            ),
            predicates=predicates,
            actions=actions,
            types={
                name: self._type(name, entry)
                for name, entry in self._entries(data, "types", self._type_names())
            },
            objects={name: self._object(name, entry) for name, entry in self._entries(data, "objects", None)},
            aliases=self._aliases(data.get("aliases", [])),
        )

    def _predicate(self, entry: Mapping[str, Any], schema: Schema) -> PredicateWords:
        where = f"predicate '{schema.name}'"
        self._refuse_unknown(entry, ("question", "statement", "negation", "ask"), where)
        names = tuple(p.name for p in schema.parameters)
        return PredicateWords(
            question=self._template(entry, "question", names, where, needed=True, complete=True),
            statement=self._template(entry, "statement", names, where, needed=True, complete=True),
            negation=self._template(entry, "negation", names, where, complete=True),
            ask=self._choice(entry, "ask", Ask, Ask.ALWAYS, where),
        )

    def _action(self, entry: Mapping[str, Any], schema: Schema) -> ActionWords:
        where = f"action '{schema.name}'"
        self._refuse_unknown(entry, ("instruction", "description", "slip"), where)
        names = tuple(p.name for p in schema.parameters)
        return ActionWords(
            instruction=self._template(entry, "instruction", names, where, needed=True, complete=True),
            description=self._text(entry, "description", where),
            slip=self._slip(entry["slip"], schema, where) if entry.get("slip") else None,
        )

    def _slip(self, entry: Any, schema: Schema, where: str) -> Slip:
        keys = ("parameter", "neighbours", "place")
        if not isinstance(entry, dict) or set(entry) != set(keys):
            raise self._error(where, f"slip must have the keys {', '.join(keys)}")
        parameter = str(entry["parameter"]).lower()
        if parameter not in (p.name for p in schema.parameters):
            raise self._error(where, f"slip names '{parameter}', which is not one of its parameters")
        for key in ("neighbours", "place"):
            predicate = self._signature.predicates.get(str(entry[key]).lower())
            if predicate is None or len(predicate.parameters) != 2:
                raise self._error(where, f"slip.{key}: '{entry[key]}' is not a predicate of two objects")
        return Slip(parameter, str(entry["neighbours"]).lower(), str(entry["place"]).lower())

    def _type(self, name: str, entry: Mapping[str, Any]) -> TypeWords:
        where = f"type '{name}'"
        self._refuse_unknown(entry, ("description", "present"), where)
        return TypeWords(
            description=self._template(entry, "description", ("name",), where),
            present=self._template(entry, "present", ("object",), where),
        )

    def _object(self, name: str, entry: Mapping[str, Any]) -> KnownObject:
        where = f"object '{name}'"
        self._refuse_unknown(entry, ("type", "description"), where)
        type_name = self._text(entry, "type", where).lower()
        if type_name not in self._type_names():
            raise self._error(
                where, f"'{type_name}' is not a type; there are {', '.join(self._type_names())}"
            )
        return KnownObject(type_name, self._text(entry, "description", where))

    def _type_names(self) -> tuple[str, ...]:
        return tuple(self._signature.supertypes)

    def _entries(
        self, data: Mapping[str, Any], key: str, known: Any, complete: bool = False
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        section = data.get(key) or {}
        if not isinstance(section, dict):
            raise self._error(key, "must be a mapping from names to what they mean")
        seen: set[str] = set()
        kind = key.removesuffix("s")
        for raw, entry in section.items():
            name = str(raw).lower()
            if name in seen:
                raise self._error(f"{kind} '{name}'", "is given twice")
            if known is not None and name not in known:
                raise self._error(
                    f"{kind} '{name}'", f"is not in the PDDL file, which has {', '.join(known)}"
                )
            if not isinstance(entry, dict):
                raise self._error(f"{kind} '{name}'", "must be a mapping")
            seen.add(name)
            yield name, entry
        if complete and (missing := [name for name in known if name not in seen]):
            raise self._error(
                f"{kind} '{missing[0]}'", f"is in the PDDL file but not described under '{key}'"
            )

    def _template(
        self,
        entry: Mapping[str, Any],
        key: str,
        names: tuple[str, ...],
        where: str,
        needed: bool = False,
        complete: bool = False,
    ) -> str:
        text = self._text(entry, key, where, needed)
        try:
            used = placeholders(text)
        except ValueError as error:
            raise self._error(where, f"{key}: {error}") from error
        for name in used:
            if name not in names:
                allowed = ", ".join(f"{{{n}}}" for n in names) or "none"
                raise self._error(where, f"{key}: {{{name}}} is not one of its parameters ({allowed})")
        if text and complete and (missing := [name for name in names if name not in used]):
            raise self._error(
                where, f"{key} does not mention {{{missing[0]}}}, so it is not clear what it speaks of"
            )
        return text

    def _text(self, entry: Mapping[str, Any], key: str, where: str, needed: bool = False) -> str:
        value = entry.get(key, "")
        if not isinstance(value, str):
            raise self._error(where, f"{key} must be text, not a {type(value).__name__}")
        text = " ".join(value.split())
        if needed and not text:
            raise self._error(where, f"has no {key}")
        return text

    def _choice(self, entry: Mapping[str, Any], key: str, kind: type[E], default: E, where: str) -> E:
        value = self._text(entry, key, where)
        if not value:
            return default
        try:
            return kind(value)
        except ValueError as error:
            choices = ", ".join(str(member.value) for member in kind)
            raise self._error(where, f"{key} is '{value}', not one of {choices}") from error

    def _aliases(self, value: Any) -> tuple[str, ...]:
        if value and (
            not isinstance(value, list) or not all(isinstance(alias, str) and alias for alias in value)
        ):
            raise self._error("aliases", "must be a list of names")
        return tuple(alias.lower() for alias in value)

    def _refuse_unknown(self, entry: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
        for key in entry:
            if key not in keys:
                raise self._error(where, f"unknown key {key!r}; there are {', '.join(keys)}")

    def _error(self, where: str, what: str) -> DomainError:
        return DomainError(f"{self._source}: {where}: {what}")
