"""The tabletop in the symbols of its planning domain: what is true of it, and what words want of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from dream_vla_ros.geometry import Array
from dream_vla_ros.planning.terms import Atom, Literal, State
from dream_vla_ros.sim.appearance import OPEN_COLOURS
from dream_vla_ros.sim.goals import RELEASED_OPENING, REST_TOLERANCE_M, Direction, Goal, Lifted, Pushed
from dream_vla_ros.sim.scene import BLOCK_SIZE_M
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import UnknownInstructionError, task_from_instruction

DOMAIN = "tabletop"
# A block falls off another when its centre is no longer above it.
_ON_OFFSET_M = BLOCK_SIZE_M / 2
# Blocks whose centres are this near each other sideways lie over each other in part.
_COVERS_M = 0.75 * BLOCK_SIZE_M
_HELD_DISTANCE_M = 0.035
_COLOURS = "|".join(OPEN_COLOURS)
# "red on blue", "the red block on top of the blue one"
_STACKED = re.compile(
    rf"(?:.*\b)?(?P<block>{_COLOURS})(?: block| one)? on(?: top of)?(?: the)? "
    rf"(?P<base>{_COLOURS})(?: block| one)?"
)
_SIDE = {Direction.LEFT: "onleft", Direction.RIGHT: "onright"}


class UnknownTaskError(ValueError):
    """Words that ask for nothing the tabletop's domain can say; the message names what would do."""


def symbols(table: TableState) -> State:
    """Return the atoms of the domain ``tabletop`` that are true.

    Left and right are the halves of the table as the robot sees them, left being +y of the base.
    """
    positions = {name: np.asarray(pose.position, float) for name, pose in table.blocks.items()}
    held = {name for name, position in positions.items() if _is_held(position, table)}
    true: set[Atom] = set()
    for name, position in positions.items():
        if name in held:
            true.add(Atom("holding", (name,)))
        elif abs(position[2] - BLOCK_SIZE_M / 2) <= REST_TOLERANCE_M:
            true.add(Atom("ontable", (name,)))
        true.add(Atom("onleft" if position[1] > 0.0 else "onright", (name,)))
        covered = False
        for other, above in positions.items():
            if other == name:
                continue
            aside = float(np.hypot(*(above - position)[:2]))
            higher = float(above[2] - position[2])
            resting = abs(higher - BLOCK_SIZE_M) <= REST_TOLERANCE_M and other not in held
            if resting and aside <= _ON_OFFSET_M:
                true.add(Atom("on", (other, name)))
            over = 0.0 < higher <= 1.5 * BLOCK_SIZE_M and aside < _COVERS_M
            covered = covered or (over and other not in held)
        if not covered:
            true.add(Atom("clear", (name,)))
    return frozenset(true)


def goal_in_words(text: str) -> tuple[Literal, ...]:
    """Put a task in words into predicates of the domain ``tabletop``.

    :param text: Instructions as the arm takes them, or towers as in "red on blue", joined by commas,
        "and" or "then".
    :raises UnknownTaskError: If a part of it is none of these, naming that part.
    """
    plain = " ".join(re.sub(r"[^a-z, ]+", " ", text.lower()).split())
    clauses = [clause.strip() for clause in re.split(r",|\band\b|\bthen\b", plain)]
    literals = [_clause(clause) for clause in clauses if clause]
    if not literals:
        raise UnknownTaskError("the task is empty")
    return tuple(dict.fromkeys(literals))


def goal_literal(goal: Goal) -> Literal:
    """Return what holds when a goal of one instruction is reached.

    :raises UnknownTaskError: If the domain has no predicate for it.
    """
    if isinstance(goal, Lifted):
        return Literal(Atom("holding", (goal.block,)))
    if isinstance(goal, Pushed):
        if goal.direction not in _SIDE:
            raise UnknownTaskError(
                f"'{goal.direction.value}' is no half of the table; say {_either(d.value for d in _SIDE)}"
            )
        return Literal(Atom(_SIDE[goal.direction], (goal.block,)))
    return Literal(Atom("on", goal.blocks))


def _clause(clause: str) -> Literal:
    tower = _STACKED.fullmatch(clause)
    if tower is not None:
        if tower["block"] == tower["base"]:
            raise UnknownTaskError(f"'{clause}': the {tower['block']} block cannot be put on itself")
        return Literal(Atom("on", (tower["block"], tower["base"])))
    try:
        return goal_literal(task_from_instruction(clause).goal)
    except UnknownInstructionError as error:
        raise UnknownTaskError(str(error)) from error


def _is_held(position: Array, table: TableState) -> bool:
    near = float(np.linalg.norm(position - table.end_effector.position)) < _HELD_DISTANCE_M
    lifted = position[2] - BLOCK_SIZE_M / 2 > REST_TOLERANCE_M
    return near and lifted and table.gripper < RELEASED_OPENING


def _either(words: Iterable[str]) -> str:
    return " or ".join(words)
