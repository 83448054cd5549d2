"""When to predict next, so that chunks overlap and the processor still rests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

# The longest of this many latencies is expected of the next prediction: one slow one must not open a gap.
_REMEMBERED = 5
# The controller has the new chunk this long before the old one ends: what a busy machine delays it by.
_MARGIN_S = 0.1


class Pacer:
    """Spaces predictions by the time that their chunks take to execute.

    A chunk covers its duration from its capture on, so the next one, captured ``interval`` later and arriving
    ``latency`` after that, is in time when interval + latency stay below the duration.

    :param chunk_duration_s: Time a whole chunk takes to execute.
    :param execute_s: Time of a chunk that is executed before the next is wanted, if latency allows.
    :param min_interval_s: Shortest time between the starts of two predictions.
    """

    def __init__(self, chunk_duration_s: float, execute_s: float, min_interval_s: float = 0.0) -> None:
        self._duration_s = chunk_duration_s
        self._execute_s = execute_s
        self._min_interval_s = min_interval_s
        self._latencies: deque[float] = deque(maxlen=_REMEMBERED)
        self._started_s: float | None = None

    @property
    def interval_s(self) -> float:
        """Time between the starts of two predictions at the latency seen lately."""
        latency_s = max(self._latencies, default=0.0)
        return max(self._min_interval_s, min(self._execute_s, self._duration_s - latency_s - _MARGIN_S), 0.0)

    def restart(self) -> None:
        """Forget when the last prediction began: the next is due at once. Latencies stay known."""
        self._started_s = None

    def start(self, now_s: float) -> None:
        """Note that a prediction begins.

        :param now_s: Steady clock.
        """
        self._started_s = now_s

    def finish(self, latency_s: float) -> None:
        """Note how long the prediction took, from the capture of its oldest image to publication."""
        self._latencies.append(latency_s)

    def due_in_s(self, now_s: float) -> float:
        """Return how long to wait for the next prediction; 0 when it is due.

        :param now_s: Steady clock.
        """
        if self._started_s is None:
            return 0.0
        return max(0.0, self._started_s + self.interval_s - now_s)


class LatencyWindow:
    """Median and 95th percentile of the newest durations.

    :param size: How many are kept.
    """

    def __init__(self, size: int = 256) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def add(self, seconds: float) -> None:
        """Add one duration in s."""
        self._values.append(seconds)

    def __len__(self) -> int:
        return len(self._values)

    def percentiles(self, wanted: Iterable[float] = (50.0, 95.0)) -> tuple[float, ...]:
        """Return percentiles in s; NaN where nothing was added."""
        wanted = tuple(wanted)
        # A copy in one step: another thread may be adding.
        values = list(self._values)
        if not values:
            return (float("nan"),) * len(wanted)
        return tuple(float(value) for value in np.percentile(values, wanted))
