"""What evaluation changes that training never saw, one thing at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dream_vla_ros.sim.appearance import CLOSED_COLOURS, MODEST_VARIATION, OPEN_COLOURS, Variation
from dream_vla_ros.sim.goals import Lifted, Pushed, Stacked
from dream_vla_ros.sim.tasks import Task

NEW_PHRASES: Mapping[type, tuple[str, ...]] = {
    Lifted: (
        "lift up the {block} block",
        "take the {block} cube",
        "fetch me the {block} block",
        "raise the {block} block off the table",
    ),
    Stacked: (
        "place the {block} block on the {base} block",
        "stack the {block} cube on top of the {base} one",
        "set the {block} block down on the {base} block",
        "the {block} block belongs on top of the {base} one",
    ),
    Pushed: (
        "slide the {block} block {direction}",
        "move the {block} cube over to the {direction}",
        "shove the {block} block to the {direction}",
        "the {block} block should go further {direction}",
    ),
}
"""Ways to say each goal that no demonstration says: known words in another order first, new words last."""


@dataclass(frozen=True)
class Condition:
    """One set of scenes.

    :param about: What is special, for tables.
    :param new_words: Ask with ``NEW_PHRASES`` instead of the phrases of the demonstrations.
    """

    name: str
    about: str
    num_blocks: int = 4
    variation: Variation = MODEST_VARIATION
    new_words: bool = False

    @property
    def looks_special(self) -> bool:
        """Whether it changes what the simulation node cannot be asked to change."""
        return self.variation != MODEST_VARIATION

    @property
    def strange_colours(self) -> int:
        """How many blocks have colours that no task of the demonstrations has."""
        return max(self.num_blocks - len(CLOSED_COLOURS), 0)

    def phrases(self, task: Task) -> tuple[str, ...]:
        """Return all ways to ask for a task."""
        if not self.new_words:
            return task.instructions()
        names = {key: getattr(value, "value", value) for key, value in vars(task.goal).items()}
        return tuple(phrase.format(**names) for phrase in NEW_PHRASES[type(task.goal)])

    def dressed(self, task: Task, rng: np.random.Generator) -> Task:
        """Return the task with as many colours as there are blocks; a fifth is one that no task names."""
        if not self.strange_colours:
            return task
        others = [colour for colour in OPEN_COLOURS if colour not in CLOSED_COLOURS]
        extra = [str(colour) for colour in rng.choice(others, self.strange_colours, replace=False)]
        return replace(task, colours=(*CLOSED_COLOURS, *extra))


CONDITIONS: Mapping[str, Condition] = {
    one.name: one
    for one in (
        Condition("standard", "4 blocks; looks and phrasings as in the demonstrations, scenes unseen"),
        Condition("two_blocks", "2 blocks; demonstrations have 3 or 4", num_blocks=2),
        Condition("five_blocks", "5 blocks, one of a colour never seen", num_blocks=5),
        Condition(
            "camera",
            "third-person camera 2 cm and 2 degrees beyond where the demonstrations have it",
            variation=replace(MODEST_VARIATION, camera_shift_m=0.02, camera_turn_deg=2.0),
        ),
        Condition(
            "light",
            "30 % more or less light; demonstrations have up to 15 %",
            variation=replace(MODEST_VARIATION, brightness=0.0, brightness_shift=0.3),
        ),
        Condition("words", "phrasings that no demonstration has", new_words=True),
    )
}
