"""Convert bags to one dataset: in parallel, resumable, and the same every time."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2

from dream_vla_ros.data import dataset_layout as layout
from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.bag_episodes import BagRules, read_episodes
from dream_vla_ros.data.bag_metadata import write_atomically
from dream_vla_ros.data.dataset_stage import ImageRules, SpoiledImageError, StagedEpisode, stage
from dream_vla_ros.data.dataset_write import assemble
from dream_vla_ros.data.errors import DataError, DatasetError
from dream_vla_ros.embodiment import Embodiment

_WORK = ".conversion"
_DONE = "bag.json"
# Part of what decides whether work of an earlier run fits: to be changed with what is written.
_REVISION = 1


@dataclass(frozen=True)
class Conversion:
    """What to convert and how.

    :param bags: Folders of bags or storage files, in the order their episodes shall have.
    :param robot: The robot's parameter file.
    :param target: Folder of the dataset.
    :param key: Name of the statistics; empty takes the embodiment's ``action.unnorm_key`` or its name.
    :param workers: Processes and threads to use; 0 takes the processor's cores.
    """

    bags: tuple[Path, ...]
    robot: Path
    target: Path
    rules: BagRules = field(default_factory=BagRules)
    images: ImageRules = field(default_factory=ImageRules)
    key: str = ""
    workers: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class BagOutcome:
    """What became of one bag.

    :param left_out: Why it gave no episode; empty where it gave some.
    :param failed: Whether that is an error rather than a rule.
    :param dropped: Reasons to numbers of frames left out.
    """

    bag: str
    episodes: tuple[StagedEpisode, ...]
    left_out: str
    failed: bool
    ticks: int
    dropped: dict[str, int]
    notes: tuple[str, ...]

    @property
    def kept(self) -> int:
        """Frames of all its episodes."""
        return sum(episode.length for episode in self.episodes)


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did."""

    target: Path
    outcomes: tuple[BagOutcome, ...]
    period_s: float

    @property
    def failed(self) -> bool:
        """Whether a bag could not be converted."""
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
                yield f"{outcome.bag}: {'FAILED' if outcome.failed else 'left out'}: {outcome.left_out}"
            else:
                yield (
                    f"{outcome.bag}: {len(outcome.episodes)} episodes, {outcome.kept} of {outcome.ticks} frames "
                    f"kept ({outcome.kept * self.period_s:.1f} s)"
                )
            for reason, count in outcome.dropped.items():
                yield f"  {count} frames dropped: {reason}"
            for note in outcome.notes:
                yield f"  {note}"
        yield (
            f"{self.target}: {self.episodes} episodes, {self.frames} frames, "
            f"{self.frames * self.period_s / 60.0:.1f} min"
        )


@dataclass(frozen=True)
class Progress:
    """How far a conversion is.

    :param images: Images stored so far, by this run.
    """

    bags_done: int
    bags: int
    images: int


def convert(
    conversion: Conversion, progress: Callable[[Progress], None] = lambda progress: None
) -> ConversionReport:
    """Make a dataset of bags; a run that was stopped goes on where it was.

    A bag that cannot be used does not stop the others: it is in the report, and ``failed`` tells.

    :raises DatasetError: If the target is a finished dataset, or nothing usable was found.
    :raises ParameterError: If the robot's file is not usable.
    """
    embodiment = Embodiment.from_file(conversion.robot)
    text = conversion.robot.read_text(encoding="utf-8")
    target = conversion.target
    if (target / layout.INFO).exists() and not conversion.overwrite:
        raise DatasetError(f"{target}: a dataset is there already; choose another folder or pass --overwrite")
    if (
        target.exists()
        and any(entry.name != _WORK for entry in target.iterdir())
        and not ((target / layout.INFO).exists() or (target / "meta").exists())
    ):
        raise DatasetError(f"{target}: the folder holds something that is no dataset; choose another")
    (target / layout.INFO).unlink(missing_ok=True)
    work = target / _WORK
    work.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(conversion, text, work)
    outcomes = _run(jobs, conversion.workers or os.cpu_count() or 1, progress)
    staged = [
        (job.folder, episode)
        for job, outcome in zip(jobs, outcomes, strict=True)
        for episode in outcome.episodes
    ]
    report = ConversionReport(target, tuple(outcomes), embodiment.action.period_s)
    if not staged:
        reasons = "\n".join(report.lines())
        raise DatasetError(f"{target}: no episode is left to write\n{reasons}")
    key = conversion.key or embodiment.action.unnorm_key or embodiment.robot
    assemble(staged, embodiment, text, conversion.images, target, key=key)
    content = json.dumps([_plain(outcome) for outcome in outcomes], indent=2, ensure_ascii=False)
    write_atomically(target / layout.REPORT, (content + "\n").encode())
    shutil.rmtree(work)
    return report


@dataclass(frozen=True)
class _Job:
    """One bag to convert."""

    bag: Path
    robot: Path
    rules: BagRules
    images: ImageRules
    folder: Path
    threads: int = 1


def _jobs(conversion: Conversion, embodiment_text: str, work: Path) -> list[_Job]:
    jobs = []
    for bag in conversion.bags:
        described = json.dumps(
            [
                _REVISION,
                str(bag.absolute()),
                _fingerprint(bag),
                embodiment_text,
                repr(conversion.rules),
                repr(conversion.images),
            ]
        )
        name = hashlib.sha256(described.encode()).hexdigest()[:20]
        jobs.append(_Job(bag, conversion.robot, conversion.rules, conversion.images, work / name))
    doubles = len(jobs) - len({job.folder for job in jobs})
    if doubles:
        raise DatasetError(f"{doubles} bags are named twice")
    return jobs


def _fingerprint(bag: Path) -> list[tuple[str, int, int]]:
    """Tell a bag's content as far as its files' sizes and times do."""
    files = sorted(bag.iterdir()) if bag.is_dir() else [bag] if bag.exists() else []
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]


def _run(jobs: Sequence[_Job], workers: int, progress: Callable[[Progress], None]) -> list[BagOutcome]:
    processes = max(1, min(workers, len(jobs)))
    # With fewer bags than cores the cameras of one bag share them.
    jobs = [_with_threads(job, -(-workers // processes)) for job in jobs]
    state = Progress(0, len(jobs), 0)
    lock = threading.Lock()

    def advance(bags: int, images: int) -> None:
        nonlocal state
        with lock:
            state = Progress(state.bags_done + bags, state.bags, state.images + images)
            progress(state)

    if processes == 1:
        outcomes = []
        for job in jobs:
            outcomes.append(_convert_bag(job, lambda images: advance(0, images)))
            advance(1, 0)
        return outcomes
    context = multiprocessing.get_context("spawn")
    counts = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(counts, advance), daemon=True)
    listener.start()
    try:
        with ProcessPoolExecutor(processes, context, _begin_worker, (counts,)) as pool:
            futures = [pool.submit(_convert_in_worker, job) for job in jobs]
            for future in futures:
                future.add_done_callback(lambda _: counts.put((1, 0)))
            return [future.result() for future in futures]
    finally:
        counts.put(None)
        listener.join()


def _with_threads(job: _Job, threads: int) -> _Job:
    return _Job(job.bag, job.robot, job.rules, job.images, job.folder, threads)


def _listen(counts: Any, advance: Callable[[int, int], None]) -> None:
    while (count := counts.get()) is not None:
        advance(*count)


_worker_counts: Any = None


def _begin_worker(counts: Any) -> None:
    global _worker_counts
    _worker_counts = counts
    cv2.setNumThreads(1)


def _convert_in_worker(job: _Job) -> BagOutcome:
    return _convert_bag(job, lambda images: _worker_counts.put((0, images)))


def _convert_bag(job: _Job, progress: Callable[[int], None]) -> BagOutcome:
    """Stage all episodes of a bag, unless an earlier run has."""
    done = job.folder / _DONE
    if done.exists():
        return _outcome(json.loads(done.read_text(encoding="utf-8")))
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    try:
        outcome = _stage_bag(job, progress)
    except DataError as error:
        return BagOutcome(str(job.bag), (), str(error), True, 0, {}, ())
    write_atomically(done, json.dumps(_plain(outcome)).encode())
    return outcome


def _stage_bag(job: _Job, progress: Callable[[int], None]) -> BagOutcome:
    embodiment = Embodiment.from_file(job.robot)
    spoiled: dict[str, set[int]] = {}
    with Bag(job.bag) as bag:
        while True:
            found = read_episodes(bag, embodiment, job.rules, spoiled)
            staged = []
            try:
                for number, episode in enumerate(found.episodes):
                    stem = f"part-{number:03d}"
                    staged.append(
                        stage(
                            episode,
                            embodiment,
                            job.images,
                            job.folder,
                            stem,
                            threads=job.threads,
                            progress=progress,
                        )
                    )
            except SpoiledImageError as error:
                # Leave the image out and begin again: its neighbours may do, or the episode ends there.
                numbers: Any = found.episodes[len(staged)].images[error.camera]
                spoiled.setdefault(error.camera, set()).add(int(numbers.numbers[error.frame]))
                continue
            report = found.report
            return BagOutcome(
                str(job.bag),
                tuple(staged),
                found.left_out,
                False,
                report.ticks,
                dict(report.dropped),
                report.notes,
            )


def _plain(outcome: BagOutcome) -> dict[str, Any]:
    values = asdict(outcome)
    values["episodes"] = [episode.to_json() for episode in outcome.episodes]
    return values


def _outcome(values: dict[str, Any]) -> BagOutcome:
    episodes = tuple(StagedEpisode.from_json(one) for one in values["episodes"])
    return BagOutcome(**{**values, "episodes": episodes, "notes": tuple(values["notes"])})


def find_bags(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Find the bags in and below some folders, sorted as a person would.

    :raises DataError: If a path leads to none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file() or (path.is_dir() and _is_bag(path)):
            found.append(path)
            continue
        below = [folder for folder in path.rglob("*") if folder.is_dir() and _is_bag(folder)]
        if not below:
            raise DataError(f"{path}: no bag there")
        found += sorted(below)
    unique = list(dict.fromkeys(found))
    return tuple(unique)


def _is_bag(folder: Path) -> bool:
    endings = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
    return any(entry.name.endswith(endings) for entry in folder.iterdir())
