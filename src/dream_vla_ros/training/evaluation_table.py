"""Records of tries as a table for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dream_vla_ros.report.table import table
from dream_vla_ros.training.rates import Rate, count

_Record = dict[str, Any]


def _group(record: _Record) -> tuple[str, str]:
    return record["condition"], record["kind"]


def success_table(records: Sequence[_Record]) -> str:
    """Lay out successes by condition and kind of task, and how often the policy noticed that it was done."""
    done = count(records, _group)
    settled = count([one for one in records if one["success"]], _group, lambda record: record["settled"])
    early = count([one for one in records if not one["success"]], _group, lambda record: record["settled"])
    rows = [
        (*group, *_cells(rate), _of(settled.get(group)), _of(early.get(group)))
        for group, rate in done.items()
    ]
    header = ("condition", "task", "done", "rate", "95 %", "settled, done", "settled, not done")
    return table(header, rows, right=(2, 3, 4, 5, 6))


def obedience_table(records: Sequence[_Record]) -> str:
    """Lay out whose goal was reached where the scene was made for another task than the words ask for."""
    rows = []
    for group, rate in count(records, _group).items():
        mine = [record for record in records if _group(record) == group]
        scene = sum(record["obeyed"] == "scene" for record in mine)
        rows.append((*group, *_cells(rate), f"{scene}", f"{rate.tries - rate.successes - scene}"))
    header = ("condition", "task", "as asked", "rate", "95 %", "as the scene suggests", "neither")
    return table(header, rows, right=(2, 3, 4, 5, 6))


def _cells(rate: Rate) -> tuple[str, str, str]:
    low, high = rate.interval
    return f"{rate.successes}/{rate.tries}", f"{rate.share:.0%}", f"{low:.0%} to {high:.0%}"


def _of(rate: Rate | None) -> str:
    return "-" if rate is None else f"{rate.successes}/{rate.tries}"
