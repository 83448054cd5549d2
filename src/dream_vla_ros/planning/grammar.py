"""What a plan's text may be: a regular language over bytes, known from the domain and its objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .description import PlanParameters
from .domain import Scene
from .errors import GrammarError
from .signature import Schema

# Four blanks for each of the four levels of a plan's JSON.
_MAX_INDENT = 16


@dataclass(frozen=True)
class Text:
    """Exactly these bytes."""

    value: bytes


@dataclass(frozen=True)
class Chain:
    """One part after the other."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Choice:
    """Any one of the parts."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Repeat:
    """A part any number of times, also not at all."""

    part: Expression


Expression: TypeAlias = "Text | Chain | Choice | Repeat"


@dataclass(frozen=True, eq=False)
class ByteAutomaton:
    """A deterministic automaton over bytes; it starts in state 0.

    :param transitions: For each state, the next state by byte.
    :param accepting: The states in which a text may end.
    """

    transitions: tuple[Mapping[int, int], ...]
    accepting: frozenset[int]

    def accepts(self, text: bytes) -> bool:
        """Say whether a text is in the language."""
        state = self.after(text)
        return state is not None and state in self.accepting

    def after(self, text: bytes, state: int = 0) -> int | None:
        """Return the state after some text; None where no continuation is in the language."""
        current: int | None = state
        for byte in text:
            current = self.transitions[current].get(byte) if current is not None else None
        return current


def plan_grammar(scene: Scene, *, blanks: bool = False) -> ByteAutomaton:
    """Describe all plans of one action or more over a scene, as :func:`~.plan_text.format_plan` writes them.

    :param blanks: Allow line breaks and indents as well, as in JSON that is printed for people.
    :raises GrammarError: If no action can be given objects.
    """
    writer = _Json(blanks)
    signature = scene.domain.signature
    by_name = scene.domain.words.plan_parameters is PlanParameters.BY_NAME
    actions = []
    for schema in signature.actions.values():
        choices = [signature.fitting(p.type, scene.objects) for p in schema.parameters]
        if all(choices):
            actions.append(_action(writer, schema, choices, by_name))
    if not actions:
        raise GrammarError(
            f"no action of '{scene.domain.name}' fits the objects {', '.join(scene.objects) or '(none)'}"
        )
    one = Choice(tuple(actions))
    return compile_automaton(writer.object([("plan", writer.array_of(one))]))


def goal_grammar(scene: Scene) -> ByteAutomaton:
    """Describe all goals of one literal or more over a scene, as :func:`~.goal_text.format_goal` writes them.

    :raises GrammarError: If no predicate can be given objects.
    """
    signature = scene.domain.signature
    literals: list[Expression] = []
    for schema in signature.predicates.values():
        choices = [signature.fitting(p.type, scene.objects) for p in schema.parameters]
        if not all(choices):
            continue
        parts: list[Expression] = [Text(f"({schema.name}".encode())]
        for names in choices:
            parts += [Text(b" "), Choice(tuple(Text(name.encode()) for name in names))]
        atom = Chain((*parts, Text(b")")))
        literals += [
            Chain((Text(b'"'), atom, Text(b'"'))),
            Chain((Text(b'"(not '), atom, Text(b')"'))),
        ]
    if not literals:
        raise GrammarError(
            f"no predicate of '{scene.domain.name}' fits the objects {', '.join(scene.objects)}"
        )
    writer = _Json(blanks=False)
    return compile_automaton(writer.object([("goal", writer.array_of(Choice(tuple(literals))))]))


def compile_automaton(expression: Expression) -> ByteAutomaton:
    """Make an expression deterministic.

    :raises GrammarError: If it describes nothing.
    """
    network = _Network()
    start, end = network.state(), network.state()
    network.build(expression, start, end)
    return network.determinise(start, end)


def _optional(expression: Expression) -> Expression:
    return Choice((expression, Text(b"")))


_SPACE = Chain((_optional(Text(b"\n")), *(_optional(Text(b" ")) for _ in range(_MAX_INDENT))))


class _Json:
    """Writes JSON as expressions, with the separators that ``json.dumps`` uses."""

    def __init__(self, blanks: bool) -> None:
        self._blanks = blanks

    def text(self, value: str) -> Expression:
        return Text(json.dumps(value).encode())

    def object(self, entries: Sequence[tuple[str, Expression]]) -> Expression:
        parts: list[Expression] = []
        for name, value in entries:
            parts.append(Chain((self.text(name), self._mark(b":", after=b" "), value)))
        return Chain((self._mark(b"{"), *self._separated(parts), self._mark(b"}", before=True)))

    def array(self, values: Sequence[Expression]) -> Expression:
        return Chain((self._mark(b"["), *self._separated(values), self._mark(b"]", before=True)))

    def array_of(self, value: Expression) -> Expression:
        more = Repeat(Chain((self._mark(b",", after=b" "), value)))
        return Chain((self._mark(b"["), value, more, self._mark(b"]", before=True)))

    def _separated(self, values: Sequence[Expression]) -> Iterable[Expression]:
        for number, value in enumerate(values):
            if number:
                yield self._mark(b",", after=b" ")
            yield value

    def _mark(self, mark: bytes, *, after: bytes = b"", before: bool = False) -> Expression:
        if not self._blanks:
            return Text(mark + after)
        if mark == b":":
            return Chain((Text(mark), _optional(Text(b" "))))
        return Chain((_SPACE, Text(mark)) if before else (Text(mark), _SPACE))


def _action(writer: _Json, schema: Schema, choices: Sequence[Sequence[str]], by_name: bool) -> Expression:
    objects = [Choice(tuple(writer.text(name) for name in names)) for names in choices]
    if by_name:
        names = [p.name for p in schema.parameters]
        parameters = writer.object(list(zip(names, objects, strict=True)))
    else:
        parameters = writer.array(objects)
    return writer.object([("action", writer.text(schema.name)), ("parameters", parameters)])


class _Network:
    """A nondeterministic automaton: moves by byte, and free moves."""

    def __init__(self) -> None:
        self._moves: list[dict[int, list[int]]] = []
        self._free: list[list[int]] = []

    def state(self) -> int:
        self._moves.append({})
        self._free.append([])
        return len(self._moves) - 1

    def build(self, expression: Expression, start: int, end: int) -> None:
        """Lead from one state to another by exactly the texts of an expression."""
        if isinstance(expression, Text):
            states = [start, *(self.state() for _ in expression.value[:-1]), end]
            if not expression.value:
                self._free[start].append(end)
            for byte, here, there in zip(expression.value, states, states[1:], strict=False):
                self._moves[here].setdefault(byte, []).append(there)
        elif isinstance(expression, Chain):
            here = start
            for part in expression.parts:
                there = self.state()
                self.build(part, here, there)
                here = there
            self._free[here].append(end)
        elif isinstance(expression, Choice):
            for part in expression.parts:
                self.build(part, start, end)
        else:
            hub = self.state()
            self._free[start].append(hub)
            self._free[hub].append(end)
            self.build(expression.part, hub, hub)

    def determinise(self, start: int, end: int) -> ByteAutomaton:
        first = self._closure((start,))
        numbers = {first: 0}
        queue = [first]
        transitions: list[dict[int, int]] = []
        for states in queue:  # grows while it is walked
            targets: dict[int, set[int]] = {}
            for state in states:
                for byte, there in self._moves[state].items():
                    targets.setdefault(byte, set()).update(there)
            row = {}
            for byte, there_states in sorted(targets.items()):
                closed = self._closure(there_states)
                if closed not in numbers:
                    numbers[closed] = len(numbers)
                    queue.append(closed)
                row[byte] = numbers[closed]
            transitions.append(row)
        accepting = frozenset(number for states, number in numbers.items() if end in states)
        if not accepting:
            raise GrammarError("the grammar describes no text at all")
        return ByteAutomaton(tuple(transitions), accepting)

    def _closure(self, states: Iterable[int]) -> frozenset[int]:
        reached = set(states)
        stack = list(reached)
        while stack:
            for there in self._free[stack.pop()]:
                if there not in reached:
                    reached.add(there)
                    stack.append(there)
        return frozenset(reached)
