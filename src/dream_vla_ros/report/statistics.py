"""Rates, jitter and percentiles of what happened in a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class RateStatistics:
    """How regularly something came.

    :param count: How often.
    :param rate_hz: Mean rate; NaN for fewer than two.
    :param jitter_p99_s: 99th percentile of how far an interval was from the nominal one; NaN for fewer than
        two.
    :param longest_gap_s: Longest interval; NaN for fewer than two.
    """

    count: int
    rate_hz: float
    jitter_p99_s: float
    longest_gap_s: float


def rate_statistics(*stretches_s: Sequence[float], nominal_period_s: float | None = None) -> RateStatistics:
    """Measure how regularly something came.

    :param stretches_s: When it came, in any order [s]; what lies between two stretches does not count.
    :param nominal_period_s: Interval it should come at; the median interval by default.
    """
    count = sum(len(times_s) for times_s in stretches_s)
    gaps = [np.diff(np.sort(np.asarray(times_s, dtype=np.float64))) for times_s in stretches_s]
    intervals = np.concatenate([*gaps, np.empty(0)])
    if not intervals.size:
        return RateStatistics(count, math.nan, math.nan, math.nan)
    span = float(intervals.sum())
    nominal = float(np.median(intervals)) if nominal_period_s is None else nominal_period_s
    return RateStatistics(
        count,
        len(intervals) / span if span > 0.0 else math.nan,
        percentile(np.abs(intervals - nominal), 99.0),
        float(intervals.max()),
    )


def percentile(values: ArrayLike, percent: float) -> float:
    """Return a percentile by linear interpolation; NaN when there are no values.

    :param percent: 0 to 100.
    """
    numbers = np.asarray(values, dtype=np.float64)
    return float(np.percentile(numbers, percent)) if numbers.size else math.nan
