"""A planning domain: what can be true, what can be done, and how both are said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import pddl
from .description import Ask, Description, build_description, fill, read_yaml
from .errors import DomainError
from .signature import Signature
from .terms import Atom, GroundAction, Literal


@dataclass(frozen=True, eq=False)
class Domain:
    """A PDDL domain and its description in words.

    :param name: As the PDDL file gives it, in lower case.
    :param pddl_text: The PDDL file's text.
    :param words: The YAML file's content.
    :param base: The PDDL file as unified-planning has it, without objects.
    """

    name: str
    pddl_text: str
    signature: Signature
    words: Description
    base: pddl.UpProblem

    @classmethod
    def from_files(cls, yaml_path: str | Path, pddl_path: str | Path | None = None) -> Domain:
        """Read a domain.

        :param yaml_path: The description; its key ``pddl`` names the PDDL file beside it.
        :param pddl_path: The PDDL file, if not that one.
        :raises DomainError: Naming the file and what in it is wrong.
        """
        data = read_yaml(yaml_path)
        if pddl_path is None:
            beside = data.get("pddl") or Path(yaml_path).with_suffix(".pddl").name
            if not isinstance(beside, str):
                raise DomainError(f"{yaml_path}: pddl must be the name of a file beside this one")
            pddl_path = Path(yaml_path).parent / beside
        text = pddl.read_text(pddl_path, DomainError)
        problem = pddl.read_domain(text, str(pddl_path))
        signature = pddl.signature_of(problem)
        words = build_description(data, signature, str(yaml_path))
        return cls((problem.name or Path(pddl_path).stem).lower(), text, signature, words, problem)

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases."""
        return (self.name, *self.words.aliases)

    def asked_predicates(self) -> tuple[str, ...]:
        """List the predicates that the scene is asked for."""
        return tuple(name for name, words in self.words.predicates.items() if words.ask is Ask.ALWAYS)


@dataclass(frozen=True, eq=False)
class Scene:
    """A domain with the objects that are there: says in words what its atoms and actions mean.

    :param objects: Type of each object.
    """

    domain: Domain
    objects: Mapping[str, str]

    def describe(self, name: str) -> str:
        """Return an object in words, without an article."""
        known = self.domain.words.objects.get(name)
        if known is not None and known.description:
            return known.description
        current: str | None = self.objects[name]
        while current is not None:
            words = self.domain.words.types.get(current)
            if words is not None and words.description:
                return fill(words.description, {"name": name})
            current = self.domain.signature.supertypes.get(current)
        return name.replace("_", " ")

    def question(self, atom: Atom) -> str:
        """Return the question that is answered yes exactly if the atom holds."""
        return self._fill_atom(self.domain.words.predicates[atom.predicate].question, atom)

    def statement(self, literal: Literal) -> str:
        """Return the words that say a literal holds, without a capital and a full stop."""
        words = self.domain.words.predicates[literal.atom.predicate]
        if literal.positive:
            return self._fill_atom(words.statement, literal.atom)
        if words.negation:
            return self._fill_atom(words.negation, literal.atom)
        return f"it is not true that {self._fill_atom(words.statement, literal.atom)}"

    def statement_of(self, atom: Atom) -> str:
        """Return the words that say an atom holds."""
        return self.statement(Literal(atom))

    def instruction(self, action: GroundAction) -> str:
        """Return what the policy is told to do."""
        schema = self.domain.signature.actions[action.name]
        values = {p.name: self.describe(a) for p, a in zip(schema.parameters, action.arguments, strict=True)}
        return fill(self.domain.words.actions[action.name].instruction, values)

    def presence_question(self, name: str) -> str | None:
        """Return the question whether an object is there; None where its type has none."""
        current: str | None = self.objects[name]
        while current is not None:
            words = self.domain.words.types.get(current)
            if words is not None and words.present:
                return fill(words.present, {"object": self.describe(name)})
            current = self.domain.signature.supertypes.get(current)
        return None

    def askable_atoms(self) -> tuple[Atom, ...]:
        """List the atoms to ask for to know the whole state.

        Predicates that are never asked for are left out, and atoms that name an object twice: nothing is on,
        in, or next to itself.
        """
        asked = self.domain.asked_predicates()
        return tuple(
            atom
            for atom in self.domain.signature.ground_atoms(self.objects)
            if atom.predicate in asked and len(set(atom.arguments)) == len(atom.arguments)
        )

    def _fill_atom(self, template: str, atom: Atom) -> str:
        schema = self.domain.signature.predicates[atom.predicate]
        values = {p.name: self.describe(a) for p, a in zip(schema.parameters, atom.arguments, strict=True)}
        return fill(template, values)
