"""Actions that lie beyond what the model was trained on."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from dream_vla_ros.policy.actions import ActionError


class RangeResponse(str, Enum):
    """What is done about such actions."""

    CLIP = "clip"
    """They are brought back to the margin."""
    REFUSE = "refuse"
    """The goal ends with a fault."""


class RangeGuard:
    """Keeps normalised actions within the quantiles of the training data and a margin.

    :param margin: Share of the range between the 1st and 99th percentile that is allowed beyond either.
    :param mask: (7,) which numbers are normalised; the others, such as the gripper, are left alone.
    """

    def __init__(self, margin: float, response: RangeResponse, mask: NDArray[np.bool_]) -> None:
        # The quantiles are at -1 and 1, so their range is 2.
        self._limit = 1.0 + 2.0 * margin
        self._margin = margin
        self._response = response
        self._mask = mask

    def __call__(self, normalized: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
        """Return the actions (steps, 7) within the limits, and how many numbers were not.

        :raises ActionError: If there are any and they are to be refused.
        """
        beyond = (np.abs(normalized) > self._limit) & self._mask
        count = int(beyond.sum())
        if not count:
            return normalized, 0
        if self._response is RangeResponse.REFUSE:
            step, index = (int(i) for i in np.argwhere(beyond)[0])
            raise ActionError(
                f"action {step} of {len(normalized)} lies beyond the training data: number {index} is "
                f"{normalized[step, index]:.2f}, where the quantiles are at -1 and 1 and range_margin "
                f"{self._margin:g} allows {self._limit:.2f}"
            )
        limited = np.clip(normalized, -self._limit, self._limit)
        return np.where(beyond, limited, normalized).astype(np.float32), count
