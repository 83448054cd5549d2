"""The box the end effector must stay in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import Array


@dataclass(frozen=True, eq=False)
class Box:
    """An axis-aligned box in the base frame.

    :param low: (3,) m.
    :param high: (3,) m.
    """

    low: Array
    high: Array

    @classmethod
    def from_limits(cls, limits: Limits) -> Box:
        """Take the workspace of a robot."""
        return cls(np.array(limits.workspace_min), np.array(limits.workspace_max))

    def around(self, position: Array) -> Box:
        """Return the box, widened just enough to hold a position: from outside the only way is inwards."""
        return Box(np.minimum(self.low, position), np.maximum(self.high, position))

    def clamp(self, position: Array) -> Array:
        """Return the nearest position in the box."""
        return np.minimum(np.maximum(position, self.low), self.high)
