from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from dream_vla_ros.planning.belief import Belief
from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.executor import ActionExecutor
from dream_vla_ros.planning.grounding import TrueGrounder
from dream_vla_ros.planning.interfaces import Grounder
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.terms import Atom, State

ROOT = Path(__file__).parents[2]

# A busy machine is no fault of an example that takes long.
settings.register_profile("planning", deadline=None)
settings.load_profile("planning")


@pytest.fixture(scope="session")
def blocksworld() -> Domain:
    return load_domain("blocksworld")


@pytest.fixture(scope="session")
def household() -> Domain:
    return load_domain("household")


@pytest.fixture(scope="session")
def tabletop() -> Domain:
    return load_domain("tabletop")


@pytest.fixture(scope="session")
def viplan() -> Path:
    folder = Path(os.environ.get("DREAM_VLA_VIPLAN", ROOT.parent / "shared" / "viplan"))
    if not (folder / "blocksworld" / "domain.pddl").is_file():
        pytest.skip(f"ViPlan's problems are not in {folder}; DREAM_VLA_VIPLAN names another folder")
    return folder


def atoms(*texts: str) -> State:
    """Read atoms written as "on red blue"."""
    return frozenset(Atom(words[0], tuple(words[1:])) for words in (text.split() for text in texts))


@pytest.fixture(scope="session")
def read_atoms() -> Callable[..., State]:
    return atoms


@pytest.fixture
def two_columns(blocksworld: Domain) -> Problem:
    """Red on blue in the first of three columns; blue is wanted in the third, red in the second."""
    return Problem.create(
        blocksworld,
        {"r": "block", "b": "block", "c1": "column", "c2": "column", "c3": "column"},
        ["(inColumn b c3)", "(inColumn r c2)"],
        atoms(
            "on r b",
            "clear r",
            "incolumn r c1",
            "incolumn b c1",
            "leftof c1 c2",
            "leftof c2 c3",
            "rightof c2 c1",
            "rightof c3 c2",
        ),
    )


class ScriptedModel:
    """Writes the texts it was given, in turn, and answers from the true state, except where told."""

    def __init__(self, problem: Problem, environment, texts: Iterable[str] = ()) -> None:
        self.texts = list(texts)
        self.prompts: list[str] = []
        self.lies: dict[str, float] = {}
        self.asked: list[str] = []
        self._environment = environment
        self._atoms = {problem.scene.question(atom): atom for atom in problem.scene.askable_atoms()}

    def generate(self, messages, images, *, grammar=None) -> str:
        self.prompts.append(messages[-1]["content"][0]["text"])
        return self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]

    def yes_probabilities(self, questions: Sequence[str], observation) -> list[float]:
        self.asked += questions
        return [self._answer(question) for question in questions]

    def _answer(self, question: str) -> float:
        atom = self._atoms.get(question)
        if atom is None:
            return math.nan
        return self.lies.get(str(atom), float(atom in self._environment.state))


@pytest.fixture
def scripted() -> type[ScriptedModel]:
    return ScriptedModel


@pytest.fixture
def make_executor() -> Callable[..., ActionExecutor]:
    """Make an executor that sees the truth, or through a grounder of the test's."""

    def make(problem: Problem, environment, grounder: Grounder | None = None, given: State = frozenset()):
        return ActionExecutor(problem, environment, grounder or TrueGrounder(environment), Belief(given))

    return make
