"""How often a checkpoint succeeds: seeded closed-loop tries, by kind of task, with intervals."""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.sim.goals import Lifted, Pushed, Stacked
from dream_vla_ros.sim.tasks import Task, closed_tasks

KINDS: dict[str, type] = {"pick": Lifted, "stack": Stacked, "push": Pushed}
# Seeds of training demonstrations begin at a million and are never as large as this.
FIRST_SEED = 500_000_000
_Z_95 = 1.959964


@dataclass(frozen=True)
class Try:
    """One try.

    :param task: What is asked for and judged.
    :param scene: What the scene is made for.
    """

    kind: str
    task: Task
    scene: Task
    seed: int
    words: str


@dataclass(frozen=True)
class Plan:
    """What is tried.

    :param kinds: Kinds of task, of ``KINDS``.
    :param episodes: Tries of each.
    :param seed: Of the first scene; they count up.
    :param wrong: Make each scene for another block than the words speak of, which alone decide success: a
        policy that goes by the scene fails.
    :param vary_words: Draw the words from all known ways to say the task.
    :param latency_s: Of a prediction, in simulated time.
    :param time_limit_s: Longest try.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    episodes: int = 50
    seed: int = FIRST_SEED
    wrong: bool = False
    vary_words: bool = True
    num_blocks: int = 4
    latency_s: float = 0.1
    time_limit_s: float = 20.0

    def tries(self) -> list[Try]:
        """Return every try, kind by kind."""
        return [self._one(kind, index) for kind in self.kinds for index in range(self.episodes)]

    def _one(self, kind: str, index: int) -> Try:
        seed = self.seed + index
        rng = np.random.default_rng([seed, *kind.encode()])
        known = [task for task in closed_tasks() if isinstance(task.goal, KINDS[kind])]
        task = replace(known[int(rng.integers(len(known)))], time_limit_s=self.time_limit_s)
        scene = task
        if self.wrong:
            others = [other for other in known if other.goal.blocks[0] != task.goal.blocks[0]]
            scene = others[int(rng.integers(len(others)))]
        words = task.instructions()
        return Try(kind, task, scene, seed, words[int(rng.integers(len(words))) if self.vary_words else 0])


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


def evaluate(
    checkpoint: Path,
    embodiment: Embodiment,
    plan: Plan,
    *,
    workers: int = 1,
    progress: Callable[[int, int, dict[str, Any]], object] = lambda done, total, last: None,
) -> list[dict[str, Any]]:
    """Try a checkpoint.

    :param workers: Processes to share the tries.
    :param progress: Called with tries done, tries in all and the newest.
    :returns: One record per try, in the plan's order.
    """
    if unknown := [kind for kind in plan.kinds if kind not in KINDS]:
        raise ValueError(f"no kind of task '{unknown[0]}'; there are {', '.join(KINDS)}")
    tries = plan.tries()
    records: list[dict[str, Any]] = []
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _begin, (checkpoint, embodiment, plan)) as pool:
        for record in pool.imap(_try, tries):
            records.append(record)
            progress(len(records), len(tries), record)
    return records


def rates(records: Sequence[dict[str, Any]]) -> dict[str, Rate]:
    """Count successes by kind of task."""
    counted: dict[str, Rate] = {}
    for record in records:
        before = counted.get(record["kind"], Rate(0, 0))
        counted[record["kind"]] = Rate(before.successes + bool(record["success"]), before.tries + 1)
    return counted


def save_records(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write one JSON line per try."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


_setup: tuple[Path, Embodiment, Plan] | None = None
_driver: Any = None


def _begin(checkpoint: Path, embodiment: Embodiment, plan: Plan) -> None:
    # A pool starts workers anew for ever if this fails, so nothing that can fail is done here.
    global _setup, _driver
    _setup, _driver = (checkpoint, embodiment, plan), None


def _load() -> Any:
    """Load policy and simulation."""
    from dream_vla_ros.policy.dream_vla import DreamVLAPolicy
    from dream_vla_ros.policy.settings import ModelSettings
    from dream_vla_ros.training.closed_loop import ControlledTabletop

    assert _setup is not None
    checkpoint, embodiment, plan = _setup
    policy = DreamVLAPolicy.load(ModelSettings(checkpoint=str(checkpoint), threads=1), embodiment)
    return ControlledTabletop(embodiment, policy, num_blocks=plan.num_blocks, latency_s=plan.latency_s)


def _try(one: Try) -> dict[str, Any]:
    global _driver
    if _driver is None:
        _driver = _load()
    trial = _driver.run(one.task, one.seed, one.words, one.scene)
    return {
        "kind": one.kind,
        "task": one.task.instruction,
        "scene": one.scene.instruction,
        "seed": one.seed,
        "instruction": one.words,
        "success": trial.success,
        "time_s": round(trial.time_s, 2),
        "touched": list(trial.touched),
    }
