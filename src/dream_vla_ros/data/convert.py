"""Convert recordings to one dataset: in parallel, resumable, and the same every time."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from dream_vla_ros.data import dataset_layout as layout
from dream_vla_ros.data.bag_episodes import BagRules
from dream_vla_ros.data.bag_metadata import write_atomically
from dream_vla_ros.data.convert_job import (
    ForeignNames,
    Job,
    Source,
    SourceKind,
    SourceOutcome,
    kind_of,
    run_job,
)
from dream_vla_ros.data.dataset_stage import ImageRules
from dream_vla_ros.data.dataset_write import assemble
from dream_vla_ros.data.errors import DataError, DatasetError
from dream_vla_ros.data.foreign_episodes import split_episodes
from dream_vla_ros.embodiment import Embodiment

_WORK = ".conversion"
# Part of what decides whether work of an earlier run fits: to be changed with what is written.
_REVISION = 2


@dataclass(frozen=True)
class Conversion:
    """What to convert and how.

    :param sources: Bags and datasets, in the order their episodes shall have.
    :param robot: The robot's parameter file.
    :param target: Folder of the dataset.
    :param names: What datasets of others call things.
    :param key: Name of the statistics; empty takes the embodiment's ``action.unnorm_key`` or its name.
    :param workers: Processes and threads to use; 0 takes the processor's cores.
    :param overwrite: Replace a finished dataset.
    """

    sources: tuple[Source, ...]
    robot: Path
    target: Path
    rules: BagRules = field(default_factory=BagRules)
    images: ImageRules = field(default_factory=ImageRules)
    names: ForeignNames = field(default_factory=ForeignNames)
    key: str = ""
    workers: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did."""

    target: Path
    outcomes: tuple[SourceOutcome, ...]
    period_s: float

    @property
    def failed(self) -> bool:
        """Whether a source could not be converted."""
        return any(outcome.failed for outcome in self.outcomes)

    @property
    def episodes(self) -> int:
        """Episodes of the dataset."""
        return sum(len(outcome.episodes) for outcome in self.outcomes)

    @property
    def frames(self) -> int:
        """Frames of the dataset."""
        return sum(outcome.kept for outcome in self.outcomes)

    def lines(self) -> Iterator[str]:
        """Tell it in words, one line each."""
        for outcome in self.outcomes:
            if outcome.left_out:
                verdict = "FAILED" if outcome.failed else "left out"
                yield f"{outcome.source}: {verdict}: {outcome.left_out}"
            else:
                yield (
                    f"{outcome.source}: {len(outcome.episodes)} episodes, {outcome.kept} of {outcome.ticks} "
                    f"frames kept ({outcome.kept * self.period_s:.1f} s)"
                )
            for reason, count in outcome.dropped.items():
                yield f"  {count} frames dropped: {reason}"
            for note in outcome.notes:
                yield f"  {note}"
        minutes = self.frames * self.period_s / 60.0
        yield f"{self.target}: {self.episodes} episodes, {self.frames} frames, {minutes:.1f} min"


@dataclass(frozen=True)
class Progress:
    """How far a conversion is.

    :param images: Images stored so far, by this run.
    """

    sources_done: int
    sources: int
    images: int


def convert(
    conversion: Conversion, progress: Callable[[Progress], None] = lambda progress: None
) -> ConversionReport:
    """Make a dataset; a run that was stopped goes on where it was.

    A source that cannot be used does not stop the others: it is in the report, and ``failed`` tells.

    :raises DatasetError: If the target is a finished dataset or no dataset at all, or nothing is usable.
    :raises ParameterError: If the robot's file is not usable.
    """
    embodiment = Embodiment.from_file(conversion.robot)
    text = conversion.robot.read_text(encoding="utf-8")
    target = conversion.target
    work = _prepare(target, conversion.overwrite)
    jobs = _jobs(conversion, text, work)
    outcomes = _run(jobs, conversion.workers or os.cpu_count() or 1, progress)
    report = ConversionReport(target, tuple(outcomes), embodiment.action.period_s)
    staged = [
        (job.folder, episode)
        for job, outcome in zip(jobs, outcomes, strict=True)
        for episode in outcome.episodes
    ]
    if not staged:
        raise DatasetError("\n".join(["no episode is left to write", *report.lines()]))
    key = conversion.key or embodiment.action.unnorm_key or embodiment.robot
    assemble(staged, embodiment, text, conversion.images, target, key=key)
    content = json.dumps([outcome.to_json() for outcome in outcomes], indent=1, ensure_ascii=False)
    write_atomically(target / layout.REPORT, (content + "\n").encode())
    shutil.rmtree(work)
    return report


def find_sources(paths: Sequence[Path]) -> tuple[Source, ...]:
    """Find the bags and datasets in and below some folders, in the order of their names.

    :raises DataError: If a path leads to none.
    """
    found: dict[Path, Source] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        places = [path] if kind_of(path) else sorted(one for one in path.rglob("*") if one.is_dir())
        before = len(found)
        for place in places:
            kind = kind_of(place)
            inside = any(one.path in place.parents for one in found.values())
            if kind is not None and not inside:
                found[place] = Source(place, kind)
        if len(found) == before and path not in found:
            raise DataError(f"{path}: neither a bag nor a dataset, and none below")
    return tuple(found.values())


def _prepare(target: Path, overwrite: bool) -> Path:
    """Check the target and return the folder of unfinished work."""
    work = target / _WORK
    finished = (target / layout.INFO).exists()
    if finished and not overwrite:
        raise DatasetError(f"{target}: a dataset is there already; choose another folder or pass --overwrite")
    if target.exists() and not finished and not work.exists() and any(target.iterdir()):
        raise DatasetError(f"{target}: the folder holds something that is no dataset; choose another")
    (target / layout.INFO).unlink(missing_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    return work


def _jobs(conversion: Conversion, embodiment_text: str, work: Path) -> list[Job]:
    jobs = []
    for whole in conversion.sources:
        parts: list[range | None] = [None]
        if whole.kind is SourceKind.LEROBOT:
            parts = [*split_episodes(whole.path)]
        for part in parts:
            source = replace(whole, part=part)
            described = json.dumps(
                [
                    _REVISION,
                    source.name,
                    str(source.path.absolute()),
                    _fingerprint(source.path),
                    embodiment_text,
                    repr((conversion.rules, conversion.images, conversion.names)),
                ]
            )
            name = hashlib.sha256(described.encode()).hexdigest()[:20]
            folder = work / name
            rules, images = conversion.rules, conversion.images
            jobs.append(Job(source, conversion.robot, rules, conversion.names, images, folder))
    if len({job.folder for job in jobs}) < len(jobs):
        raise DatasetError("a source is named twice")
    return jobs


def _fingerprint(path: Path) -> list[tuple[str, int, int]]:
    """Tell a source's content as far as its files' sizes and times do."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [
        (file.relative_to(path.parent).as_posix(), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if file.is_file()
    ]


def _run(jobs: Sequence[Job], workers: int, progress: Callable[[Progress], None]) -> list[SourceOutcome]:
    processes = max(1, min(workers, len(jobs)))
    # With fewer sources than cores the cameras of one share them.
    jobs = [replace(job, threads=-(-workers // processes)) for job in jobs]
    state = Progress(0, len(jobs), 0)
    lock = threading.Lock()

    def advance(sources: int, images: int) -> None:
        nonlocal state
        with lock:
            state = Progress(state.sources_done + sources, state.sources, state.images + images)
            progress(state)

    if processes == 1:
        outcomes = []
        for job in jobs:
            outcomes.append(run_job(job, lambda images: advance(0, images)))
            advance(1, 0)
        return outcomes
    context = multiprocessing.get_context("spawn")
    counts = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(counts, advance), daemon=True)
    listener.start()
    try:
        with ProcessPoolExecutor(processes, context, _begin_worker, (counts,)) as pool:
            return list(pool.map(_run_in_worker, jobs))
    except BrokenProcessPool as error:
        raise DatasetError(
            f"one of {processes} processes was killed, perhaps for want of memory: begin again with fewer "
            "(--workers 1); sources that are done are not done again"
        ) from error
    finally:
        counts.put(None)
        listener.join()


def _listen(counts: Any, advance: Callable[[int, int], None]) -> None:
    while (count := counts.get()) is not None:
        advance(*count)


_worker_counts: Any = None


def _begin_worker(counts: Any) -> None:
    global _worker_counts
    _worker_counts = counts
    cv2.setNumThreads(1)


def _run_in_worker(job: Job) -> SourceOutcome:
    outcome = run_job(job, lambda images: _worker_counts.put((0, images)))
    _worker_counts.put((1, 0))
    return outcome
