"""What is believed of a scene, and which answers stand behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .outcomes import Answer, AnswerCode
from .terms import Atom, Literal, State


class Belief:
    """The state believed in; what was never seen, given or expected to be true counts as false.

    :param given: What is known from the start.
    """

    def __init__(self, given: State = frozenset()) -> None:
        self._true: set[Atom] = set(given)
        self._answers: dict[Atom, Answer] = {
            atom: Answer(str(atom), AnswerCode.YES, math.nan, message="given") for atom in sorted(given)
        }

    @property
    def state(self) -> State:
        """The atoms believed to be true."""
        return frozenset(self._true)

    def learn(self, atoms: Sequence[Atom], answers: Sequence[Answer]) -> None:
        """Take in what was seen. An unknown answer leaves an atom as it was believed to be."""
        for atom, answer in zip(atoms, answers, strict=True):
            if answer.code is AnswerCode.YES:
                self._true.add(atom)
            elif answer.code is AnswerCode.NO:
                self._true.discard(atom)
            self._answers[atom] = answer

    def expect(self, literals: Iterable[Literal], reason: str) -> None:
        """Take in what should be true now without having been seen.

        :param reason: Why, in words.
        """
        for literal in literals:
            if literal.positive:
                self._true.add(literal.atom)
            else:
                self._true.discard(literal.atom)
            code = AnswerCode.YES if literal.positive else AnswerCode.NO
            self._answers[literal.atom] = Answer(str(literal.atom), code, math.nan, message=reason)

    def answers(self) -> tuple[Answer, ...]:
        """Return the last answer on every atom that was ever asked for, given or expected."""
        return tuple(self._answers[atom] for atom in sorted(self._answers))
