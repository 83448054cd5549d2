"""What came of playing ViPlan's problems: one record each, a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dream_vla_ros.report.table import number, table

MODES = ("planner", "grounder")
TIERS = ("simple", "medium", "hard")  # ViPlan's, from easy to hard; others come after them


@dataclass(frozen=True)
class Play:
    """One problem played in one mode.

    :param solved: Whether the goal truly held at the end.
    :param outcome: What the planning loop said.
    :param actions: Actions tried.
    :param worked: Of those, how many truly did what the domain says.
    :param answers: Questions asked about the scene.
    :param right: Of those, how many were answered as things are.
    """

    problem: str
    domain: str
    tier: str
    mode: str
    failure_probability: float
    solved: bool
    outcome: str
    message: str
    actions: int
    worked: int
    answers: int
    right: int
    plans: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """All plays of one domain, tier, mode and failure probability together."""

    domain: str
    tier: str
    mode: str
    failure_probability: float
    problems: int
    task_accuracy: float
    action_accuracy: float
    answer_accuracy: float
    actions: float
    plans: float
    seconds: float


def summarise(plays: Sequence[Play]) -> list[Row]:
    """Put plays together, in the order of domain, tier, failure probability and mode."""

    def order(key: tuple[str, str, float, str]) -> tuple:
        domain, tier, probability, mode = key
        return (
            domain,
            TIERS.index(tier) if tier in TIERS else len(TIERS),
            tier,
            probability,
            MODES.index(mode),
        )

    groups: dict[tuple[str, str, float, str], list[Play]] = {}
    for one in plays:
        groups.setdefault((one.domain, one.tier, one.failure_probability, one.mode), []).append(one)
    rows = []
    for key in sorted(groups, key=order):
        group = groups[key]
        domain, tier, probability, mode = key
        rows.append(
            Row(
                domain,
                tier,
                mode,
                probability,
                len(group),
                float(np.mean([one.solved for one in group])),
                _share(sum(one.worked for one in group), sum(one.actions for one in group)),
                _share(sum(one.right for one in group), sum(one.answers for one in group)),
                float(np.mean([one.actions for one in group])),
                float(np.mean([one.plans for one in group])),
                float(np.mean([one.seconds for one in group])),
            )
        )
    return rows


def lay_out(rows: Sequence[Row]) -> str:
    """Write the table."""
    header = ["domain", "tier", "failures", "mode", "problems", "task acc.", "action acc.", "answers right"]
    header += ["actions", "plans", "s"]
    cells = [
        [
            row.domain,
            row.tier,
            number(100 * row.failure_probability, 0, "%"),
            row.mode,
            str(row.problems),
            number(100 * row.task_accuracy, 1, "%"),
            number(100 * row.action_accuracy, 1, "%"),
            number(100 * row.answer_accuracy, 1, "%"),
            number(row.actions, 1),
            number(row.plans, 1),
            number(row.seconds, 2),
        ]
        for row in rows
    ]
    return table(header, cells, right=[2, *range(4, len(header))], width=120)


def plot(rows: Sequence[Row], path: Path, model: str) -> None:
    """Draw task and action accuracy of every tier.

    :param model: Who saw and planned.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    places = list(dict.fromkeys((row.domain, row.tier) for row in rows))
    series = list(dict.fromkeys((row.mode, row.failure_probability) for row in rows))
    width = 0.8 / len(series)
    figure, axes = pyplot.subplots(
        2, 1, figsize=(3 + 1.6 * len(places), 6.5), sharex=True, layout="constrained"
    )
    for axis, (name, key) in zip(
        axes, (("tasks finished", "task_accuracy"), ("actions that worked", "action_accuracy")), strict=True
    ):
        for number_of, (mode, probability) in enumerate(series):
            shown = [row for row in rows if (row.mode, row.failure_probability) == (mode, probability)]
            x = [
                places.index((row.domain, row.tier)) + (number_of - (len(series) - 1) / 2) * width
                for row in shown
            ]
            label = f"{mode}, {probability:.0%} of actions fail" if probability else mode
            axis.bar(x, [100 * getattr(row, key) for row in shown], 0.92 * width, label=label)
        axis.set_ylabel(f"{name} [%]")
        axis.set_ylim(0, 105)
        axis.grid(axis="y", alpha=0.3)
    axes[1].set_xticks(range(len(places)), [f"{domain}\n{tier}" for domain, tier in places])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(f"ViPlan's problems\nseen by {model}", fontsize=11)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
