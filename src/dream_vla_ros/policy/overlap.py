"""What is left of one chunk when the next is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dream_vla_ros.model import PreviousChunk

# Motion numbers of an action; the last number is the gripper, which is never averaged.
_MOTION_NUMBERS = 6
# Times that are whole steps but for the clock's noise are taken for whole ones [steps].
_NO_SHARE = 1e-3


@dataclass(frozen=True)
class Overlap:
    """How a new prediction lies on the chunk before, in time of action executed.

    :param elapsed_s: Executed between the two observations.
    :param delay_s: Expected to be executed before the new chunk takes over.
    """

    elapsed_s: float
    delay_s: float


def previous_chunk(
    actions: NDArray[np.float32], overlap: Overlap, period_s: float, guidance_limit: float | None
) -> PreviousChunk | None:
    """Count the actions of the chunk before from the new observation on.

    Observations fall between steps, so motion is interpolated; the gripper is that of the nearer step. At
    least one action is frozen: the one under way.

    :param actions: (steps, 7) normalised, as they were predicted.
    :param period_s: Time one step takes.
    :param guidance_limit: As :class:`~dream_vla_ros.model.PreviousChunk` has it.
    :returns: None if nothing is left.
    """
    # Brings torch, which the scripted expert and a policy node that starts do without.
    from dream_vla_ros.model import PreviousChunk

    position = max(0.0, overlap.elapsed_s / period_s)
    first = int(position + _NO_SHARE)
    share = position - first if position - first > _NO_SHARE else 0.0
    left = len(actions) - first - (1 if share else 0)
    if left <= 0:
        return None
    rows = np.array(actions[first : first + left], dtype=np.float32)
    if share:
        following = actions[first + 1 : first + 1 + left]
        rows[:, :_MOTION_NUMBERS] += np.float32(share) * (following - rows)[:, :_MOTION_NUMBERS]
        if share > 0.5:
            rows[:, _MOTION_NUMBERS:] = following[:, _MOTION_NUMBERS:]
    frozen = min(left, max(1, ceil(overlap.delay_s / period_s - _NO_SHARE)))
    return PreviousChunk(rows, frozen, guidance_limit)
