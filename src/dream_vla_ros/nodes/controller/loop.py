"""A thread that runs a function at a fixed rate, and figures on how well it keeps it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Ticks the figures look back on: 20 s at 50 Hz.
_WINDOW = 1000


@dataclass(frozen=True)
class LoopFigures:
    """How a loop kept its time over its last ticks.

    :param rate_hz: Ticks per second.
    :param jitter_p99_s: 99th percentile of how late a tick began.
    :param jitter_max_s: The latest.
    :param busy_p99_s: 99th percentile of how long a tick took.
    :param missed: Ticks left out since the start because one before took too long.
    """

    rate_hz: float
    jitter_p99_s: float
    jitter_max_s: float
    busy_p99_s: float
    missed: int


class FixedRateLoop:
    """Calls a function at a fixed rate on the steady clock; late ticks are not made up for.

    :param period_s: Time from one call to the next.
    :param tick: The function; what it raises ends the loop.
    """

    def __init__(self, period_s: float, tick: Callable[[], None], name: str) -> None:
        self._period_s = period_s
        self._tick = tick
        self._ending = threading.Event()
        self._begun: deque[float] = deque(maxlen=_WINDOW)
        self._late: deque[float] = deque(maxlen=_WINDOW)
        self._busy: deque[float] = deque(maxlen=_WINDOW)
        self._missed = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to call."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the function is still being called."""
        return self._thread.is_alive()

    def end(self, timeout_s: float) -> None:
        """Call no more; wait for the call in progress."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def figures(self) -> LoopFigures:
        """Return how the loop kept its time; NaN before there were two ticks."""
        begun, late, busy = list(self._begun), np.array(self._late), np.array(self._busy)
        if len(begun) < 2 or not len(busy):
            return LoopFigures(np.nan, np.nan, np.nan, np.nan, self._missed)
        return LoopFigures(
            rate_hz=(len(begun) - 1) / (begun[-1] - begun[0]),
            jitter_p99_s=float(np.percentile(late, 99.0)),
            jitter_max_s=float(late.max()),
            busy_p99_s=float(np.percentile(busy, 99.0)),
            missed=self._missed,
        )

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.is_set():
            now = time.monotonic()
            if now < due:
                time.sleep(due - now)
                now = time.monotonic()
            self._begun.append(now)
            self._late.append(now - due)
            self._tick()
            ended = time.monotonic()
            self._busy.append(ended - now)
            due += self._period_s
            if ended > due + self._period_s:
                left_out = int((ended - due) / self._period_s)
                self._missed += left_out
                due += left_out * self._period_s
