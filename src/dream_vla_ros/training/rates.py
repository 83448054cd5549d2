"""Successes counted, with what they tell about the true rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_Z_95 = 1.959964


@dataclass(frozen=True)
class Rate:
    """Successes among tries."""

    successes: int
    tries: int

    @property
    def share(self) -> float:
        """Share of successes; NaN without tries."""
        return self.successes / self.tries if self.tries else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        if not self.tries:
            return 0.0, 1.0
        n, p, z2 = self.tries, self.share, _Z_95**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return max(middle - half, 0.0), min(middle + half, 1.0)

    @property
    def words(self) -> str:
        """In words, for a table."""
        low, high = self.interval
        return f"{self.successes}/{self.tries} = {self.share:.0%} ({low:.0%} to {high:.0%})"


def count(
    records: Sequence[dict[str, Any]],
    by: Callable[[dict[str, Any]], Any],
    what: Callable[[dict[str, Any]], object] = lambda record: record["success"],
) -> dict[Any, Rate]:
    """Count records for which something is so, in groups; in the order they come."""
    counted: dict[Any, Rate] = {}
    for record in records:
        before = counted.get(by(record), Rate(0, 0))
        counted[by(record)] = Rate(before.successes + bool(what(record)), before.tries + 1)
    return counted


def rates(records: Sequence[dict[str, Any]]) -> dict[str, Rate]:
    """Count successes by kind of task."""
    return count(records, lambda record: record["kind"])
