"""How often a checkpoint succeeds: seeded closed-loop tries, by conditions and kinds of task."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.policy.settings import ObjectiveName
from dream_vla_ros.sim.goals import Lifted, Pushed, Stacked
from dream_vla_ros.sim.tasks import Task, closed_tasks
from dream_vla_ros.training.conditions import CONDITIONS, Condition
from dream_vla_ros.training.rates import Rate, rates

__all__ = [
    "FIRST_SEED",
    "KINDS",
    "Plan",
    "Rate",
    "Try",
    "evaluate",
    "failures",
    "film",
    "rates",
    "save_records",
]

KINDS: dict[str, type] = {"pick": Lifted, "stack": Stacked, "push": Pushed}
# Seeds of training demonstrations begin at a million and are never as large as this.
FIRST_SEED = 500_000_000


@dataclass(frozen=True)
class Try:
    """One try.

    :param condition: Name of its condition.
    :param task: What is asked for and judged.
    :param scene: What the scene is made for.
    """

    condition: str
    kind: str
    task: Task
    scene: Task
    seed: int
    words: str

    @property
    def name(self) -> str:
        """For a file of its own."""
        return f"{self.condition}-{self.kind}-{self.seed}"

    def record(self) -> dict[str, Any]:
        """Say what was tried, for a record of what came of it."""
        return {
            "condition": self.condition,
            "kind": self.kind,
            "task": self.task.instruction,
            "scene": self.scene.instruction,
            "seed": self.seed,
            "instruction": self.words,
        }


@dataclass(frozen=True)
class Plan:
    """What is tried.

    :param kinds: Kinds of task, of ``KINDS``.
    :param episodes: Tries of each under each condition.
    :param seed: Of the first scene; they count up.
    :param conditions: Names of ``CONDITIONS``.
    :param wrong: Make each scene for another block than the words speak of. Who goes by the words does what
        they ask for; who goes by the scene does that.
    :param vary_words: Draw the words from all of the condition's ways to say the task.
    :param latency_s: Of a prediction, in simulated time.
    :param time_limit_s: Longest try.
    :param until_settled: Go on after success until the policy settles.
    :param objective: What the checkpoint was trained with.
    :raises ValueError: If a kind or condition is not known.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    episodes: int = 50
    seed: int = FIRST_SEED
    conditions: tuple[str, ...] = ("standard",)
    wrong: bool = False
    vary_words: bool = True
    latency_s: float = 0.1
    time_limit_s: float = 20.0
    until_settled: bool = False
    objective: ObjectiveName = ObjectiveName.FLOW_MATCHING

    def __post_init__(self) -> None:
        for what, given, known in (
            ("kind of task", self.kinds, KINDS),
            ("condition", self.conditions, CONDITIONS),
        ):
            if unknown := [one for one in given if one not in known]:
                raise ValueError(f"no {what} '{unknown[0]}'; there are {', '.join(known)}")

    def tries(self) -> list[Try]:
        """Return every try, condition by condition and kind by kind."""
        return [
            self._one(CONDITIONS[condition], kind, index)
            for condition in self.conditions
            for kind in self.kinds
            for index in range(self.episodes)
        ]

    def _one(self, condition: Condition, kind: str, index: int) -> Try:
        seed = self.seed + index
        rng = np.random.default_rng([seed, *kind.encode()])
        known = [task for task in closed_tasks() if isinstance(task.goal, KINDS[kind])]
        task = replace(known[int(rng.integers(len(known)))], time_limit_s=self.time_limit_s)
        scene = task
        if self.wrong:
            others = [other for other in known if other.goal.blocks[0] != task.goal.blocks[0]]
            scene = others[int(rng.integers(len(others)))]
        words = condition.phrases(task)
        chosen = words[int(rng.integers(len(words))) if self.vary_words else 0]
        return Try(condition.name, kind, task, condition.dressed(scene, rng), seed, chosen)


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
    tries = plan.tries()
    records: list[dict[str, Any]] = []
    with _workers(checkpoint, embodiment, plan, workers) as pool:
        for record in pool.imap(_try, [(one, None) for one in tries]):
            records.append(record)
            progress(len(records), len(tries), record)
    return records


def failures(plan: Plan, records: Sequence[dict[str, Any]], most: int) -> list[Try]:
    """Return the first tries of each kind under each condition that did not succeed.

    :param records: Of ``evaluate``.
    :param most: Of each.
    """
    chosen: list[Try] = []
    counted: dict[tuple[str, str], int] = {}
    for one, record in zip(plan.tries(), records, strict=True):
        key = (one.condition, one.kind)
        if not record["success"] and counted.get(key, 0) < most:
            counted[key] = counted.get(key, 0) + 1
            chosen.append(one)
    return chosen


def film(
    checkpoint: Path,
    embodiment: Embodiment,
    plan: Plan,
    tries: Sequence[Try],
    folder: Path,
    *,
    workers: int = 1,
) -> list[Path]:
    """Repeat tries, which come out as they did, and write a video of each.

    :param folder: Gets one MP4 file per try.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = [(one, folder / f"{one.name}.mp4") for one in tries]
    if work:
        with _workers(checkpoint, embodiment, plan, workers) as pool:
            pool.map(_try, work, chunksize=1)
    return [path for _, path in work]


def save_records(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write one JSON line per try."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


@contextmanager
def _workers(checkpoint: Path, embodiment: Embodiment, plan: Plan, workers: int) -> Iterator[Any]:
    # Fresh processes: a graphics context must not be inherited.
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _begin, (checkpoint, embodiment, plan)) as pool:
        yield pool


_setup: tuple[Path, Embodiment, Plan] | None = None
_policy: Any = None
_loops: dict[str, Any] = {}


def _begin(checkpoint: Path, embodiment: Embodiment, plan: Plan) -> None:
    # A pool starts workers anew for ever if this fails, so nothing that can fail is done here.
    global _setup
    _setup = (checkpoint, embodiment, plan)


def _loop(condition: Condition) -> Any:
    """Load the policy once, and one environment for each condition."""
    from dream_vla_ros.policy.dream_vla import DreamVLAPolicy
    from dream_vla_ros.policy.settings import ModelSettings
    from dream_vla_ros.training.closed_loop import ClosedLoop, LoopSettings
    from dream_vla_ros.training.tabletop_environment import TabletopEnvironment

    global _policy
    assert _setup is not None
    checkpoint, embodiment, plan = _setup
    if _policy is None:
        settings = ModelSettings(checkpoint=str(checkpoint), objective=plan.objective, threads=1)
        _policy = DreamVLAPolicy.load(settings, embodiment)
    if condition.name not in _loops:
        environment = TabletopEnvironment(
            embodiment, num_blocks=condition.num_blocks, variation=condition.variation
        )
        limits = LoopSettings(
            latency_s=plan.latency_s, time_limit_s=plan.time_limit_s, until_settled=plan.until_settled
        )
        _loops[condition.name] = ClosedLoop(embodiment, _policy, environment, limits)
    return _loops[condition.name]


def _try(work: tuple[Try, Path | None]) -> dict[str, Any]:
    from dream_vla_ros.training.tabletop_environment import Scenario

    one, path = work
    loop, scenario = _loop(CONDITIONS[one.condition]), Scenario(one.task, one.scene)
    if path is None:
        trial = loop.run(scenario, one.seed, one.words)
    else:
        from dream_vla_ros.training.film import Film

        with Film(path, one.words) as shot:
            trial = loop.run(scenario, one.seed, one.words, shot.add)
            shot.conclude(trial.end.value, trial.success)
    return {
        **one.record(),
        "success": trial.success,
        "obeyed": trial.goal,
        "end": trial.end.value,
        "settled": trial.settled,
        "time_s": round(trial.time_s, 2),
        **trial.notes,
    }
