"""Keep a loop at real time on the steady clock, or say that it is not."""

from __future__ import annotations

import time
from collections.abc import Callable

# A loop later than this gives the lost time up instead of hurrying after it.
_GIVE_UP_S = 0.1


class Pacer:
    """Sleeps the rest of each period.

    :param period_s: Length of a period.
    :param clock: Steady time [s].
    :param sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        period_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._period_s = period_s
        self._clock = clock
        self._sleep = sleep
        self._due = clock() + period_s

    def wait(self) -> float:
        """Wait for the end of the period.

        Short delays are caught up with in the next periods. Longer ones are not: time goes slower then.

        :returns: Time that was given up [s]; zero as long as the loop keeps up.
        """
        late = self._clock() - self._due
        if late > _GIVE_UP_S:
            self._due += late + self._period_s
            return late
        if late < 0.0:
            self._sleep(-late)
        self._due += self._period_s
        return 0.0
