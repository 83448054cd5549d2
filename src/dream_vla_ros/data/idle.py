"""Leave out the time in which nothing happens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.series import Bool


class Trim(str, Enum):
    """Which idle frames are left out."""

    ENDS = "ends"
    """Before the first motion and after the last."""
    ALL = "all"
    """Those within as well, as the published LIBERO sets were made."""
    NONE = "none"


@dataclass(frozen=True)
class IdleRule:
    """What counts as idle.

    :param speed: Slower than this [m/s] is standing still.
    :param turn_rate: Slower than this [rad/s] is not turning.
    :param keep_after: Idle frames kept after the last motion: from them a policy learns to stand still.
    """

    trim: Trim = Trim.ENDS
    speed: float = 0.002
    turn_rate: float = 0.01
    keep_after: int = 0


def keep(motion: Motion, period_s: float, rule: IdleRule) -> Bool:
    """Say which frames of an unbroken run are kept.

    :param motion: Actions of the run.
    :returns: (frames,); all False where nothing ever moves.
    """
    count = len(motion)
    if rule.trim is Trim.NONE:
        return np.ones(count, dtype=bool)
    moves = np.linalg.norm(motion.translation, axis=1) > rule.speed * period_s
    moves |= np.linalg.norm(motion.rotation, axis=1) > rule.turn_rate * period_s
    # A frame in whose period the gripper is told something new is not idle.
    moves |= np.abs(np.diff(motion.gripper, prepend=motion.gripper[:1])) > 1e-6
    active = np.flatnonzero(moves)
    if len(active) == 0:
        return np.zeros(count, dtype=bool)
    last = min(count, active[-1] + 1 + rule.keep_after)
    kept = moves.copy() if rule.trim is Trim.ALL else np.ones(count, dtype=bool)
    kept[: active[0]] = False
    kept[active[-1] : last] = True
    kept[last:] = False
    return kept
