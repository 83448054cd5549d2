"""The jerk limit: commanded twists are averaged over a few ticks.

An average of twists that keep the limits on speed and acceleration keeps them too, leads as far, and leads
nowhere the twists themselves did not: a moving average of positions stays in every box they stay in. Its
acceleration changes from tick to tick by at most twice the largest one divided by the number of ticks.
Translation and rotation are averaged over the same ticks, so the direction of the path is kept.
"""

from __future__ import annotations

from collections import deque
from math import ceil

import numpy as np

from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import Array

# A window that is whole but for rounding.
_ROUNDING = 1e-9


def smoothing_ticks(limits: Limits, period_s: float) -> int:
    """Return over how many ticks the jerk limits need twists to be averaged; 1 is none.

    :param period_s: The control period.
    """
    return max(
        1,
        ceil(2.0 * limits.linear_acceleration / (limits.linear_jerk * period_s) - _ROUNDING),
        ceil(2.0 * limits.angular_acceleration / (limits.angular_jerk * period_s) - _ROUNDING),
    )


class Smoother:
    """Moving average of twists.

    :param ticks: How many are averaged.
    """

    def __init__(self, ticks: int) -> None:
        self._twists: deque[Array] = deque(maxlen=ticks)
        self.ticks = ticks
        self.halt()

    @property
    def at_rest(self) -> bool:
        """Whether nothing moves."""
        return not any(twist.any() for twist in self._twists)

    def halt(self) -> None:
        """Forget all motion; only where nothing is commanded any more."""
        self._twists.extend(np.zeros(6) for _ in range(self.ticks))

    def push(self, linear: Array, angular: Array) -> tuple[Array, Array]:
        """Take a tick's twist in and return the averaged one: (3,) m/s and (3,) rad/s."""
        if self.ticks == 1:
            return linear, angular
        self._twists.append(np.concatenate([linear, angular]))
        mean = np.mean(self._twists, axis=0)
        return mean[:3], mean[3:]
