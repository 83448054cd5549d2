"""Questions, goals and plans about the tabletop with their right answers, to train a model that also plans.

Every example is a chat as the planner node will hold it, and what the model should write. Labels are the
simulation's own state; see :func:`~dream_vla_ros.sim.symbols.symbols`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dream_vla_ros.geometry import Pose
from dream_vla_ros.model.prompt import Message
from dream_vla_ros.model.yes_no import question_messages
from dream_vla_ros.planning.domain import Domain, Scene
from dream_vla_ros.planning.goal_text import format_goal
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.planning.outcomes import ActionRecord
from dream_vla_ros.planning.plan_text import format_plan
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.prompts import goal_messages, planner_messages
from dream_vla_ros.planning.terms import Atom, Literal, State
from dream_vla_ros.sim.appearance import OPEN_COLOURS
from dream_vla_ros.sim.layout import InitialStates, Layout
from dream_vla_ros.sim.scene import BLOCK_SIZE_M
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.symbols import DOMAIN
from dream_vla_ros.training.shortest_plans import ShortestPlans, shortest_plans

YES, NO = "yes", "no"
# What a task usually asks for; a tower is at most three blocks high.
_MOST_PARTS = 3
_TOWER = 3
_SEPARATION_M = 0.005
_NEAR_MISS = 3.0
_NEAR_MIDDLE_M = 0.03


@dataclass(frozen=True)
class TextExample:
    """A chat and what the model should answer.

    :param kind: ``question``, ``goal`` or ``plan``.
    :param messages: With one image part per camera, as ``planning.prompts`` and ``model.yes_no`` write them.
    :param answer: ``yes`` or ``no``, or JSON on one line.
    """

    kind: str
    messages: Sequence[Message]
    answer: str


@dataclass(frozen=True)
class Question:
    """A yes/no question about a table.

    :param atom: What it asks for; None where it asks whether a block is there.
    """

    text: str
    answer: bool
    atom: Atom | None = None


@lru_cache(maxsize=1)
def tabletop_domain() -> Domain:
    """Return the planning domain of the tabletop, read once."""
    return load_domain(DOMAIN)


def plans_over(colours: Sequence[str]) -> ShortestPlans:
    """Return the plans over some blocks."""
    return shortest_plans(tabletop_domain(), tuple(sorted(colours)))


def tabletop_scene(colours: Sequence[str]) -> Scene:
    """Return the domain with some blocks."""
    return Scene(tabletop_domain(), dict.fromkeys(sorted(colours), "block"))


def draw_scene(
    colours: Sequence[str],
    rng: np.random.Generator,
    *,
    tower_share: float = 0.5,
    states: InitialStates | None = None,
) -> Layout:
    """Draw a table on which some blocks may lie on others.

    :param colours: The blocks.
    :param tower_share: How probable it is that a block is put on another one.
    :param states: Where blocks may lie.
    """
    layout = (states or InitialStates()).draw(colours, rng)
    blocks: dict[str, Pose] = dict(layout.blocks)
    tops = {name: (name, 1) for name in blocks}  # of each tower: topmost block and height
    for name in rng.permutation(list(blocks)):
        others = [base for base, (_, height) in tops.items() if base != name and height < _TOWER]
        if tops.get(name, ("", 0))[1] != 1 or not others or rng.random() >= tower_share:
            continue
        base = str(rng.choice(others))
        below, height = tops[base]
        under = blocks[below].position
        aside = rng.uniform(-_SEPARATION_M, _SEPARATION_M, 2)
        place = np.array([under[0] + aside[0], under[1] + aside[1], under[2] + BLOCK_SIZE_M])
        blocks[str(name)] = Pose(place, blocks[str(name)].quaternion)
        tops[base] = (str(name), height + 1)
        del tops[name]
    return Layout(layout.end_effector, blocks)


def draw_questions(
    state: State,
    colours: Sequence[str],
    rng: np.random.Generator,
    count: int,
    *,
    shares: Mapping[str, float] | None = None,
    weight: Callable[[Atom], float] | None = None,
) -> list[Question]:
    """Draw questions about a table, half of them with the answer yes where there are enough.

    Of every predicate about as many are drawn: most pairs of blocks are not on each other, and a model that
    always says no would be right most of the time.

    :param state: What is true.
    :param colours: The blocks that are there.
    :param shares: Weights of predicates in the draw, 1 for those not named; ``present`` is whether a block is
        there. None draws all alike.
    :param weight: How often a question of a predicate with one answer is drawn, against the others of it; see
        :func:`near_misses`. None draws all alike.
    """
    scene = tabletop_scene(colours)
    groups: dict[tuple[str, bool], list[Question]] = {}
    for atom in scene.askable_atoms():
        holds = atom in state
        groups.setdefault((atom.predicate, holds), []).append(Question(scene.question(atom), holds, atom))
    everything = tabletop_scene(OPEN_COLOURS)
    for name in OPEN_COLOURS:
        text = everything.presence_question(name)
        if text:
            groups.setdefault(("present", name in scene.objects), []).append(
                Question(text, name in scene.objects)
            )
    predicates = sorted({predicate for predicate, _ in groups})
    drawn = []
    for number in range(count):
        wanted = number % 2 == 0
        fitting = [name for name in predicates if (name, wanted) in groups]
        if not fitting:
            fitting, wanted = [name for name in predicates if (name, not wanted) in groups], not wanted
        weights = None if shares is None else np.array([shares.get(name, 1.0) for name in fitting])
        share = None if weights is None else weights / weights.sum()
        group = groups[str(rng.choice(fitting, p=share)), wanted]
        if weight is None:
            drawn.append(group[int(rng.integers(len(group)))])
            continue
        each = np.array([weight(question.atom) if question.atom else 1.0 for question in group])
        drawn.append(group[int(rng.choice(len(group), p=each / each.sum()))])
    return drawn


def near_misses(table: TableState) -> Callable[[Atom], float]:
    """Weigh questions by how little would change the answer, to learn from those that are easily got wrong.

    These are sides of blocks near the middle of the table, and what lies on what in one tower.
    """
    places = {name: pose.position for name, pose in table.blocks.items()}

    def weight(atom: Atom) -> float:
        if atom.predicate in ("onleft", "onright"):
            (block,) = atom.arguments
            return 1.0 + _NEAR_MISS * float(np.exp(-abs(places[block][1]) / _NEAR_MIDDLE_M))
        if atom.predicate == "on":
            upper, lower = (places[name][:2] for name in atom.arguments)
            return 1.0 + _NEAR_MISS * bool(np.linalg.norm(upper - lower) < BLOCK_SIZE_M)
        return 1.0

    return weight


def draw_goal(
    state: State, colours: Sequence[str], rng: np.random.Generator, parts: int
) -> tuple[Literal, ...]:
    """Draw a goal by doing random actions in mind and keeping what they changed.

    So it can always be reached, and is not reached yet unless nothing can be done.

    :param parts: Actions done in mind.
    """
    plans = plans_over(colours)
    now = state
    for _ in range(parts):
        possible = plans.successors(now)
        if not possible:
            break
        by_name: dict[str, list[State]] = {}
        for action, after in possible:
            by_name.setdefault(action.name, []).append(after)
        states = by_name[str(rng.choice(sorted(by_name)))]
        now = states[int(rng.integers(len(states)))]
    told = ("on", "holding", "onleft", "onright")
    return tuple(Literal(atom) for atom in sorted(now - state) if atom.predicate in told)


def question_example(question: Question, cameras: int) -> TextExample:
    """Write a question as a chat."""
    return TextExample("question", question_messages(question.text, cameras), YES if question.answer else NO)


def goal_example(goal: Sequence[Literal], task: str, colours: Sequence[str], cameras: int) -> TextExample:
    """Write a task in words, and its predicates, as a chat."""
    return TextExample(
        "goal", goal_messages(tabletop_scene(colours), task, images=cameras), format_goal(goal)
    )


def plan_example(
    state: State,
    goal: Sequence[Literal],
    colours: Sequence[str],
    cameras: int,
    *,
    task: str = "",
    history: Sequence[ActionRecord] = (),
) -> TextExample | None:
    """Write a goal and a shortest plan to it as a chat.

    :param task: The goal in words, told beside the predicates.
    :param history: Actions that were tried before.
    :returns: None if there is nothing to do or no plan.
    """
    plan = plans_over(colours).plan(state, goal)
    if not plan:
        return None
    problem = Problem.create(tabletop_domain(), dict.fromkeys(sorted(colours), "block"), list(goal))
    told = [*filter(None, [task]), *problem.goal_statements()]
    messages = planner_messages(problem.scene, told, history, images=cameras)
    return TextExample("plan", messages, format_plan(problem.domain, plan))


def task_in_words(goal: Sequence[Literal], colours: Sequence[str], rng: np.random.Generator) -> str:
    """Say a goal as a person would, in one of several ways."""
    scene = tabletop_scene(colours)
    said = []
    for literal in goal:
        names = {name: scene.describe(name) for name in literal.atom.arguments}
        phrases = _PHRASES[literal.atom.predicate]
        said.append(phrases[int(rng.integers(len(phrases)))].format(*names.values()))
    return f"{' and '.join(said)}"


def draw_examples(
    state: State,
    colours: Sequence[str],
    cameras: int,
    rng: np.random.Generator,
    *,
    questions: int = 8,
    plans: int = 1,
) -> list[TextExample]:
    """Draw everything there is to ask about one table: questions, and goals with their plans.

    :param state: What is true of the table.
    :param cameras: Images that are shown.
    """
    examples = [question_example(q, cameras) for q in draw_questions(state, colours, rng, questions)]
    for _ in range(plans):
        goal = draw_goal(state, colours, rng, int(rng.integers(1, _MOST_PARTS + 1)))
        if not goal:
            continue
        task = task_in_words(goal, colours, rng)
        examples.append(goal_example(goal, task, colours, cameras))
        planned = plan_example(state, goal, colours, cameras, task=task if rng.random() < 0.5 else "")
        if planned is not None:
            examples.append(planned)
    return examples


_PHRASES: Mapping[str, tuple[str, ...]] = {
    "on": ("put the {} on the {}", "stack the {} on the {}", "place the {} on top of the {}"),
    "holding": ("pick up the {}", "lift the {}", "grab the {}"),
    "onleft": ("push the {} to the left", "move the {} to the left"),
    "onright": ("push the {} to the right", "move the {} to the right"),
}
