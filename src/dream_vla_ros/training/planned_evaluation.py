"""How often tasks of several steps are finished: seeded tries of planner, policy and controller together."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.policy.dream_vla import DreamVLAPolicy
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.policy import Policy
from dream_vla_ros.policy.settings import ModelSettings, ObjectiveName
from dream_vla_ros.report.table import table
from dream_vla_ros.training.closed_loop import ClosedLoop, LoopSettings
from dream_vla_ros.training.evaluation import FIRST_SEED
from dream_vla_ros.training.expert_policy import ExpertPolicy
from dream_vla_ros.training.planned_tasks import (
    AnsweringModel,
    LoadModel,
    Mode,
    TabletopWorld,
    carry_out,
    draw_planned_task,
    record_of,
)
from dream_vla_ros.training.rates import count
from dream_vla_ros.training.tabletop_environment import Scenario, TabletopEnvironment


@dataclass(frozen=True)
class PlannedTries:
    """What is tried.

    :param episodes: Tries of each length.
    :param steps: Lengths of shortest plans.
    :param seed: Of the first task; they count up.
    :param time_limit_s: Longest instruction.
    :param latency_s: Of a prediction, in simulated time.
    :param constrained: Keep what the model writes within the grammar of plans.
    """

    episodes: int = 200
    steps: tuple[int, ...] = (3,)
    seed: int = FIRST_SEED
    num_blocks: int = 4
    mode: Mode = Mode.GROUNDER
    constrained: bool = True
    latency_s: float = 0.1
    time_limit_s: float = 20.0
    objective: ObjectiveName = ObjectiveName.FLOW_MATCHING


def evaluate_planned(
    checkpoint: Path | None,
    embodiment: Embodiment,
    tries: PlannedTries,
    load_model: LoadModel | None = None,
    *,
    workers: int = 1,
    videos: Path | None = None,
    progress: Callable[[int, int, dict[str, Any]], object] = lambda done, total, last: None,
) -> list[dict[str, Any]]:
    """Try a policy on tasks of several steps.

    :param checkpoint: Of the policy; None takes the scripted expert.
    :param load_model: Loads who answers, in each process; None reads the simulation's own state.
    :param workers: Processes to share the tries.
    :param videos: Folder for a video of each try that fails.
    :param progress: Called with tries done, tries in all and the newest.
    :returns: One record per try.
    """
    work = [(steps, tries.seed + number) for steps in tries.steps for number in range(tries.episodes)]
    records: list[dict[str, Any]] = []
    # Fresh processes: a graphics context must not be inherited.
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, _begin, (checkpoint, embodiment, tries, load_model, videos)) as pool:
        for record in pool.imap(_try, work):
            records.append(record)
            progress(len(records), len(work), record)
    return records


def planned_table(records: Sequence[dict[str, Any]]) -> str:
    """Lay out how many tasks of each length were finished, and how many actions worked."""
    rows = []
    for steps, rate in count(records, lambda record: record["steps"]).items():
        mine = [record for record in records if record["steps"] == steps]
        actions = [one["outcome"] == "SUCCEEDED" for record in mine for one in record["actions"]]
        believed = sum(record["outcome"] == "GOAL_REACHED" for record in mine)
        low, high = rate.interval
        rows.append(
            (
                f"{steps}",
                f"{rate.successes}/{rate.tries}",
                f"{rate.share:.0%}",
                f"{low:.0%} to {high:.0%}",
                f"{believed}/{rate.tries}",
                f"{sum(actions)}/{len(actions)}",
            )
        )
    header = ("steps", "finished", "rate", "95 %", "believed finished", "actions that worked")
    return table(header, rows, right=(0, 1, 2, 3, 4, 5))


_setup: tuple[Path | None, Embodiment, PlannedTries, LoadModel | None, Path | None] | None = None
_parts: tuple[ClosedLoop[Scenario], TabletopEnvironment, AnsweringModel | None] | None = None


def _begin(*setup: Any) -> None:
    # A pool starts workers anew for ever if this fails, so nothing that can fail is done here.
    global _setup
    _setup = setup  # type: ignore[assignment]


def _ready() -> tuple[ClosedLoop[Scenario], TabletopEnvironment, AnsweringModel | None]:
    global _parts
    assert _setup is not None
    checkpoint, embodiment, tries, load_model, _ = _setup
    if _parts is None:
        environment = TabletopEnvironment(embodiment, num_blocks=tries.num_blocks)
        policy: Policy[Observation] = ExpertPolicy(environment.sim, embodiment.action.chunk_size)
        if checkpoint is not None:
            settings = ModelSettings(checkpoint=str(checkpoint), objective=tries.objective, threads=1)
            policy = DreamVLAPolicy.load(settings, embodiment)
        limits = LoopSettings(latency_s=tries.latency_s, time_limit_s=tries.time_limit_s, until_settled=True)
        loop = ClosedLoop(embodiment, policy, environment, limits)
        _parts = loop, environment, None if load_model is None else load_model()
    return _parts


def _try(work: tuple[int, int]) -> dict[str, Any]:
    assert _setup is not None
    tries, videos = _setup[2], _setup[4]
    loop, environment, model = _ready()
    steps, seed = work
    task = draw_planned_task(seed, steps, num_blocks=tries.num_blocks)
    world = TabletopWorld(loop, environment, task, seed)
    result = carry_out(task, world, model, mode=tries.mode, constrained=tries.constrained)
    record = record_of(task, seed, world, result)
    if videos is not None and not record["success"]:
        from dream_vla_ros.training.film import Film

        # The same again: tries repeat exactly.
        videos.mkdir(parents=True, exist_ok=True)
        with Film(videos / f"{steps}-steps-{seed}.mp4", task.words) as shot:
            again = TabletopWorld(loop, environment, task, seed, shot.add)
            carry_out(task, again, model, mode=tries.mode, constrained=tries.constrained)
            shot.conclude(record["outcome"], record["success"])
    return record
