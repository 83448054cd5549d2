"""The tasks: a goal, the words that ask for it, and the beginnings it is tried from.

Scene (colours on the table), initial states and success predicate are apart and freely combined. A *closed*
task uses the four standard colours; an *open* one draws from all colours, for names not seen in training.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dream_vla_ros.geometry import Pose
from dream_vla_ros.sim.appearance import BYSTANDER_COLOURS, CLOSED_COLOURS, OPEN_COLOURS
from dream_vla_ros.sim.goals import PUSH_DISTANCE_M, Direction, Goal, Lifted, Pushed, Stacked
from dream_vla_ros.sim.layout import InitialStates, Layout
from dream_vla_ros.sim.scene import BLOCK_SIZE_M

# Ways to say each goal; the first is the one used unless another is asked for. Parsing knows all of them.
PHRASES: Mapping[type, tuple[str, ...]] = {
    Lifted: (
        "pick up the {block} block",
        "lift the {block} block",
        "grab the {block} block",
        "take the {block} block",
        "pick the {block} block up",
    ),
    Stacked: (
        "put the {block} block on the {base} one",
        "put the {block} block on the {base} block",
        "stack the {block} block on the {base} block",
        "place the {block} block on top of the {base} block",
    ),
    Pushed: (
        "push the {block} block to the {direction}",
        "move the {block} block to the {direction}",
        "slide the {block} block to the {direction}",
        "push the {block} block {direction}",
    ),
}

# Room a push needs along its way: behind the block for the closed fingers, beyond its end for the block; and
# to each side, so that no other block is touched.
_PUSH_BEHIND_M = 0.085
_PUSH_BEYOND_M = 0.06
_PUSH_ASIDE_M = 0.055
# A push to the line that stops a little short of it counts all the same.
_PUSH_LEAST_M = PUSH_DISTANCE_M + 0.015


@dataclass(frozen=True)
class Task:
    """One thing to do.

    :param goal: When it is done.
    :param colours: Colours the table's blocks are drawn from, bystanders' among them if wanted; the goal's
        blocks are always there.
    :param initial: Where everything begins.
    :param time_limit_s: Longest try; the scripted expert takes less than half of it.
    """

    goal: Goal
    colours: tuple[str, ...] = CLOSED_COLOURS
    initial: InitialStates = field(default_factory=InitialStates)
    time_limit_s: float = 20.0

    def __post_init__(self) -> None:
        others = (colour for colour in self.colours if colour not in BYSTANDER_COLOURS)
        unknown = [colour for colour in (*self.goal.blocks, *others) if colour not in OPEN_COLOURS]
        if unknown:
            raise ValueError(f"no colour '{unknown[0]}'; there are {', '.join(OPEN_COLOURS)}")

    @property
    def instruction(self) -> str:
        """The standard words for it."""
        return self.instructions()[0]

    def instructions(self) -> tuple[str, ...]:
        """Return all known ways to ask for it, the standard one first."""
        names = {key: getattr(value, "value", value) for key, value in vars(self.goal).items()}
        return tuple(phrase.format(**names) for phrase in PHRASES[type(self.goal)])

    def draw_layout(self, num_blocks: int, rng: np.random.Generator, also: Task | None = None) -> Layout:
        """Draw a beginning.

        :param num_blocks: Blocks on the table.
        :param also: Another task whose blocks have to be there, with room for it.
        :raises ValueError: If there are not enough blocks or colours.
        """
        tasks = (self,) if also is None else (self, also)
        needed = tuple(dict.fromkeys(block for task in tasks for block in task.goal.blocks))
        others = [colour for colour in self.colours if colour not in needed]
        extra = num_blocks - len(needed)
        if not 0 <= extra <= len(others):
            most = len(needed) + len(others)
            raise ValueError(f"'{self.instruction}' needs {len(needed)} to {most} blocks, not {num_blocks}")
        chosen = [*needed, *rng.choice(others, extra, replace=False)] if extra else list(needed)
        rng.shuffle(chosen)
        return self.initial.draw(
            [str(colour) for colour in chosen], rng, lambda blocks: all(one.has_room(blocks) for one in tasks)
        )

    def has_room(self, blocks: Mapping[str, Pose]) -> bool:
        """Say whether nothing is in the way of the goal.

        :param blocks: Where the blocks lie; the goal's are among them.
        """
        if not isinstance(self.goal, Pushed):
            return True
        start = blocks[self.goal.block].position
        direction = self.goal.direction.vector
        way = self.goal.direction.push_line_m - float(start @ direction)
        if way < _PUSH_LEAST_M:
            return False
        for colour, pose in blocks.items():
            if colour == self.goal.block:
                continue
            offset = pose.position - start
            along = float(offset @ direction)
            aside = float(np.linalg.norm(offset - along * direction))
            if -_PUSH_BEHIND_M < along < way + _PUSH_BEYOND_M and aside < _PUSH_ASIDE_M + BLOCK_SIZE_M / 2:
                return False
        return True


class UnknownInstructionError(ValueError):
    """Words that ask for none of the tasks."""


def task_from_instruction(text: str) -> Task:
    """Find the task that words ask for.

    :param text: As a person types it: case, punctuation, spaces and a leading "please" do not matter.
    :raises UnknownInstructionError: If no phrase matches, naming what would.
    """
    words = re.sub(r"[^a-z ]+", " ", text.lower())
    words = re.sub(r"\s+", " ", words).strip().removeprefix("please ").removesuffix(" please")
    for kind, phrases in PHRASES.items():
        for phrase in phrases:
            match = _pattern(phrase).fullmatch(words)
            if match is None:
                continue
            arguments: dict[str, object] = dict(match.groupdict())
            if kind is Pushed:
                arguments["direction"] = Direction(arguments["direction"])
            try:
                goal = kind(**arguments)
            except ValueError as error:
                raise UnknownInstructionError(f"'{text}': {error}") from error
            standard = all(colour in CLOSED_COLOURS for colour in goal.blocks)
            return Task(goal, CLOSED_COLOURS if standard else OPEN_COLOURS)
    examples = "; ".join(phrases[0] for phrases in PHRASES.values())
    raise UnknownInstructionError(
        f"no task is known for '{text}'; say one of: {examples}, with colours {', '.join(OPEN_COLOURS)} "
        f"and directions {', '.join(direction.value for direction in Direction)}"
    )


def closed_tasks() -> Iterator[Task]:
    """List every task over the four standard colours: lift, stack, push left and right."""
    yield from _tasks(CLOSED_COLOURS)


def open_tasks() -> Iterator[Task]:
    """List every task over all colours, drawn onto a table with all colours."""
    yield from (replace(task, colours=OPEN_COLOURS) for task in _tasks(OPEN_COLOURS))


def _tasks(colours: tuple[str, ...]) -> Iterator[Task]:
    yield from (Task(Lifted(colour)) for colour in colours)
    yield from (Task(Stacked(block, base)) for block, base in itertools.permutations(colours, 2))
    yield from (
        Task(Pushed(colour, direction))
        for colour in colours
        for direction in (Direction.LEFT, Direction.RIGHT)
    )


def _pattern(phrase: str) -> re.Pattern[str]:
    colours = "|".join(OPEN_COLOURS)
    directions = "|".join(direction.value for direction in Direction)
    pattern = phrase.replace("{block}", f"(?P<block>{colours})").replace("{base}", f"(?P<base>{colours})")
    return re.compile(
        pattern.replace("{direction}", f"(?P<direction>{directions})").replace("the ", "(?:the )?")
    )
