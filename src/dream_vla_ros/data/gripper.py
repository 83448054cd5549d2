"""What a gripper was told, read off how its fingers moved."""

from __future__ import annotations

import numpy as np

from dream_vla_ros.geometry import Array

# Share of the whole stroke that counts as being moved, and not as giving way or noise.
MOVED = 0.1


def command_from_opening(openings: Array) -> Array:
    """Tell open and close commands from measured openings.

    Fingers that hold an object stay half open, so where they stand says little; the way they moved last says
    what they were told. A command begins where the movement begins.

    :param openings: (n,) 1 = open, 0 = closed.
    :returns: (n,) 1 = open, 0 = close.
    """
    values = np.asarray(openings, dtype=np.float64)
    if len(values) == 0:
        return values
    command = np.empty(len(values))
    current = 1.0 if values[0] >= 0.5 else 0.0
    extreme, since = values[0], 0
    command[0] = current
    for index in range(1, len(values)):
        value = values[index]
        command[index] = current
        further = value - extreme if current == 1.0 else extreme - value
        if further >= 0.0:
            extreme, since = value, index
        elif -further >= MOVED:
            current = 1.0 - current
            command[since + 1 : index + 1] = current
            extreme, since = value, index
    return command
