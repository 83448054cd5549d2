"""What people say to a robot at a table: the text that the small tokenizer is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "white", "black", "brown", "pink", "grey")
THINGS = (
    "block", "cube", "bowl", "cup", "plate", "box", "drawer", "spoon", "towel", "carrot", "eggplant",
    "basket",
    "can", "bottle", "pot", "lid", "stove", "sink", "cabinet", "mug",
)  # fmt: skip
SIDES = ("left", "right", "front", "back", "middle", "far left", "near right", "edge", "corner", "centre")
RELATIONS = (
    "on",
    "under",
    "beside",
    "next to",
    "left of",
    "right of",
    "in front of",
    "behind",
    "inside",
    "above",
)
COMMANDS = (
    "pick up the {c} {t}",
    "lift the {c} {t} from the table",
    "grasp the {c} {t} with the gripper",
    "put the {c} {t} on the {d} one",
    "place the {c} {t} into the {d} {u}",
    "stack the {c} {t} on top of the {d} {u}",
    "push the {c} {t} to the {s}",
    "move the {c} {t} towards the {s} of the table",
    "slide the {c} {t} away from the {d} {u}",
    "take the {c} {t} out of the {d} {u}",
    "open the {t} and close the {u}",
    "turn the {c} {t} around, then put it down",
    "reach for the {c} {t} and hold it still",
    "sort the blocks by colour",
    "clear the table, one {t} after another",
)
QUESTIONS = (
    "Is the {c} {t} {r} the {d} one?",
    "Is the robot holding the {c} {t}?",
    "Is the gripper open or closed?",
    "Where is the {c} {t}?",
    "Which {t} is {r} the {d} {u}?",
    "What colour is the {t} at the {s}?",
    "How many blocks are there?",
    "Can the arm reach the {c} {t}?",
    "Is there anything {r} the {c} {t}? Answer yes or no.",
)
ANSWERS = (
    "yes",
    "no",
    "Yes, it is.",
    "No, it is not.",
    "The {c} {t} is {r} the {d} {u}.",
    '{{"plan": [{{"action": "pick", "parameters": ["{c}_{t}"]}}, {{"action": "place", "parameters": '
    '["{c}_{t}", "{d}_{u}"]}}]}}',
    "on({c}, {d}), clear({c}), holding({d}), handempty",
    "0 1 2 3 4 5 6 7 8 9 10, 0.1 m, -0.25 m, 90 degrees, 5 cm, x y z",
)
FRAME = (
    "user\nWhat action should the robot take to {text}?",
    "assistant\n{text}",
    "system\nYou are a helpful assistant.\n{text}",
)


def sentences() -> Iterator[str]:
    """Yield every sentence, in a fixed order."""
    patterns = (*COMMANDS, *QUESTIONS, *ANSWERS)
    choices = product(range(len(COLOURS)), range(len(THINGS)))
    for index, (colour, thing) in enumerate(choices):
        filled = {
            "c": COLOURS[colour],
            "d": COLOURS[(colour + 1 + thing) % len(COLOURS)],
            "t": THINGS[thing],
            "u": THINGS[(thing + 3 + colour) % len(THINGS)],
            "s": SIDES[index % len(SIDES)],
            "r": RELATIONS[index % len(RELATIONS)],
        }
        for at, pattern in enumerate(patterns):
            yield FRAME[(index + at) % len(FRAME)].format(text=pattern.format(**filled))
