"""Many ways to say each task, drawn anew at every step of training.

Words cost nothing to vary after the demonstrations are recorded: what is done does not depend on how it is
asked for. A policy that hears five phrases for each task learns these five; a new verb then moves the arm to
the right block and no further.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from dream_vla_ros.sim.goals import Lifted, Pushed, Stacked
from dream_vla_ros.sim.tasks import UnknownInstructionError, task_from_instruction
from dream_vla_ros.training.conditions import NEW_PHRASES

# What may stand in each place; one is drawn from each.
_FORMS: Mapping[type, tuple[tuple[tuple[str, ...], ...], ...]] = {
    Lifted: (
        (
            ("pick up", "lift", "grab", "take", "pick", "hold up", "grasp", "get", "bring up", "collect"),
            ("the {block} block", "the {block} one", "the {block} object", "{block} block"),
            ("", "", "", "please", "now", "from the table"),
        ),
        (
            ("please pick", "pick", "lift", "take", "bring"),
            ("the {block} block", "the {block} one", "that {block} object"),
            ("up", "up now", "up off the ground", "into the air"),
        ),
        (
            ("i want", "i need", "give me", "hand me", "could you get me"),
            ("the {block} block", "the {block} one", "the {block} object"),
        ),
    ),
    Stacked: (
        (
            ("put", "place", "stack", "lay", "pile", "drop", "move", "position"),
            ("the {block} block", "the {block} one", "the {block} object"),
            ("on", "onto", "on top of", "above", "over"),
            ("the {base} one", "the {base} block", "the {base} object"),
        ),
        (
            ("build a tower with", "make a stack with"),
            ("the {block} block", "the {block} one"),
            ("on the {base} block", "over the {base} one", "on top of the {base} one"),
        ),
        (
            ("i want", "i need", "let"),
            ("the {block} block", "the {block} one"),
            ("on the {base} block", "on top of the {base} block", "to sit on the {base} one"),
        ),
    ),
    Pushed: (
        (
            ("push", "move", "slide", "drag", "nudge", "shift", "sweep", "bring"),
            ("the {block} block", "the {block} one", "the {block} object"),
            ("to the {direction}", "{direction}", "towards the {direction}", "to the {direction} side"),
        ),
        (
            ("i want", "i need", "please get"),
            ("the {block} block", "the {block} one"),
            ("farther {direction}", "to the {direction}", "more to the {direction}"),
        ),
    ),
}


@cache
def phrases(kind: type) -> tuple[str, ...]:
    """Return every way to say a kind of goal, with places for its blocks and direction.

    Those that evaluation keeps for itself are left out.
    """
    said = (
        " ".join(part for part in parts if part)
        for form in _FORMS[kind]
        for parts in itertools.product(*form)
    )
    return tuple(phrase for phrase in dict.fromkeys(said) if phrase not in NEW_PHRASES[kind])


def reworded(instruction: str, rng: np.random.Generator) -> str:
    """Say an instruction of a demonstration in other words.

    :param instruction: As the simulation's tasks have it.
    :returns: One of all ways; the instruction itself if it asks for none of the tasks.
    """
    try:
        goal = task_from_instruction(instruction).goal
    except UnknownInstructionError:
        return instruction
    names = {key: getattr(value, "value", value) for key, value in vars(goal).items()}
    known = phrases(type(goal))
    return known[int(rng.integers(len(known)))].format(**names)


def reworded_some(instructions: Sequence[str], share: float, rng: np.random.Generator) -> list[str]:
    """Say a share of instructions in other words."""
    return [reworded(text, rng) if rng.random() < share else text for text in instructions]
