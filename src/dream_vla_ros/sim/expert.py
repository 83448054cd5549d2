"""The scripted expert: from the table as it is now to the next chunk of actions.

It keeps no state. Every call plans anew, by imagining what its own actions do to an ideal table, so it
recovers from any disturbance and its chunks say what it would do if undisturbed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dream_vla_ros.geometry import Array
from dream_vla_ros.sim.goals import Goal, Lifted, Pushed, Stacked
from dream_vla_ros.sim.imagined import ImaginedTable, Motion
from dream_vla_ros.sim.skills import lift, push, stack
from dream_vla_ros.sim.state import TableState

PERIOD_S = 0.2


@dataclass(frozen=True, eq=False)
class ExpertChunk:
    """What the expert would do next.

    :param translation: (steps, 3) m per period, base axes.
    :param rotation: (steps, 3) rotation vectors, rad per period, base axes, about the end-effector point.
    :param gripper: (steps,) absolute opening, 1 = open, 0 = closed.
    """

    translation: Array
    rotation: Array
    gripper: Array

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do: no motion in the whole chunk."""
        return not (self.translation.any() or self.rotation.any())

    def array(self) -> Array:
        """Return the chunk as (steps, 7): translation, rotation, gripper."""
        return np.concatenate([self.translation, self.rotation, self.gripper[:, None]], axis=1)


def plan(goal: Goal, start: TableState, now: TableState, steps: int = 8) -> ExpertChunk:
    """Plan the next actions towards a goal.

    :param goal: What is to be reached.
    :param start: The table when the task began.
    :param now: The table now.
    :param steps: Length of the chunk, one step per 0.2 s.
    :raises TypeError: If the expert has no skill for the goal.
    """
    table = ImaginedTable.from_state(now)
    motions: list[Motion] = []
    for _ in range(steps):
        motion = _next_motion(goal, start, table)
        motions.append(motion)
        table.apply(motion)
    return ExpertChunk(
        np.array([motion.translation for motion in motions]),
        np.array([motion.rotation for motion in motions]),
        np.array([motion.gripper for motion in motions]),
    )


def _next_motion(goal: Goal, start: TableState, table: ImaginedTable) -> Motion:
    if isinstance(goal, Lifted):
        return lift(table, goal.block)
    if isinstance(goal, Stacked):
        return stack(table, goal.block, goal.base)
    if isinstance(goal, Pushed):
        return push(table, goal.block, goal.direction, start.blocks[goal.block].position)
    raise TypeError(f"the expert has no skill for {goal}")
