"""Stage the episodes of one source: what a worker of a conversion does."""

from __future__ import annotations

import json
import shutil
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.bag_episodes import BagImages, BagRules, read_episodes
from dream_vla_ros.data.bag_metadata import write_atomically
from dream_vla_ros.data.dataset_read import Dataset, is_dataset
from dream_vla_ros.data.dataset_stage import ImageRules, SpoiledImageError, StagedEpisode, stage
from dream_vla_ros.data.episode import Episode
from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.foreign_episodes import FeatureNames, dataset_episodes
from dream_vla_ros.data.rlds import RldsNames, is_rlds, rlds_episodes
from dream_vla_ros.embodiment import Embodiment

_DONE = "source.json"
_BAG_ENDINGS = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")


class SourceKind(str, Enum):
    """What episodes are read from."""

    BAG = "bag"
    LEROBOT = "LeRobot dataset"
    RLDS = "RLDS dataset"


@dataclass(frozen=True)
class Source:
    """Something to convert.

    :param part: Which episodes of a dataset; None for all.
    """

    path: Path
    kind: SourceKind
    part: range | None = None

    @property
    def name(self) -> str:
        """Path, and which of its episodes."""
        return str(self.path) + (f", episodes {self.part.start} to {self.part.stop - 1}" if self.part else "")


@dataclass(frozen=True)
class ForeignNames:
    """What datasets of others call things; empty entries take what is usual.

    :param cameras: Camera names of the robot's file to the dataset's.
    """

    cameras: tuple[tuple[str, str], ...] = ()
    state: str = ""
    action: str = ""

    def for_lerobot(self) -> FeatureNames:
        """Return the names to look for in a LeRobot set."""
        usual = FeatureNames()
        return FeatureNames(dict(self.cameras), self.state or usual.state, self.action or usual.action)

    def for_rlds(self) -> RldsNames:
        """Return the names to look for in an RLDS set."""
        usual = RldsNames()
        return RldsNames(dict(self.cameras), self.state or usual.state, self.action or usual.action)


@dataclass(frozen=True)
class Job:
    """One source to convert.

    :param folder: Where its episodes are staged.
    :param threads: Cameras to work on at once.
    """

    source: Source
    robot: Path
    rules: BagRules
    names: ForeignNames
    images: ImageRules
    folder: Path
    threads: int = 1


@dataclass(frozen=True)
class SourceOutcome:
    """What became of one source.

    :param left_out: Why it gave no episode; empty where it gave some.
    :param failed: Whether that is an error rather than a rule.
    :param ticks: Frames that its time had room for.
    :param dropped: Reasons to numbers of frames left out.
    """

    source: str
    episodes: tuple[StagedEpisode, ...] = ()
    left_out: str = ""
    failed: bool = False
    ticks: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> int:
        """Frames of all its episodes."""
        return sum(episode.length for episode in self.episodes)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self) | {"episodes": [episode.to_json() for episode in self.episodes]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SourceOutcome:
        """Read it back."""
        episodes = tuple(StagedEpisode.from_json(one) for one in values["episodes"])
        return cls(**{**values, "episodes": episodes, "notes": tuple(values["notes"])})


def run_job(job: Job, progress: Callable[[int], None]) -> SourceOutcome:
    """Stage all episodes of a source, unless an earlier run has.

    :param progress: Told how many more images are done.
    """
    done = job.folder / _DONE
    if done.exists():
        return SourceOutcome.from_json(json.loads(done.read_text(encoding="utf-8")))
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    embodiment = Embodiment.from_file(job.robot)
    try:
        if job.source.kind is SourceKind.BAG:
            outcome = _stage_bag(job, embodiment, progress)
        else:
            outcome = _stage_dataset(job, embodiment, progress)
    except DataError as error:
        # Not kept: the next run tries again.
        return SourceOutcome(job.source.name, left_out=str(error), failed=True)
    except OSError:
        raise  # a disk that is full is no fault of this source
    except Exception:  # what nobody foresaw in one recording must not cost the others
        text = f"unexpected error, please report it:\n{traceback.format_exc()}"
        return SourceOutcome(job.source.name, left_out=text, failed=True)
    write_atomically(done, json.dumps(outcome.to_json()).encode())
    return outcome


def kind_of(path: Path) -> SourceKind | None:
    """Tell what a path holds; None for nothing that can be converted."""
    if path.is_file():
        return SourceKind.BAG if path.name.endswith(_BAG_ENDINGS) else None
    if not path.is_dir():
        return None
    if is_dataset(path):
        return SourceKind.LEROBOT
    if is_rlds(path):
        return SourceKind.RLDS
    return SourceKind.BAG if any(file.name.endswith(_BAG_ENDINGS) for file in path.iterdir()) else None


def _stage_bag(job: Job, embodiment: Embodiment, progress: Callable[[int], None]) -> SourceOutcome:
    spoiled: dict[str, set[int]] = {}
    with Bag(job.source.path) as bag:
        while True:
            found = read_episodes(bag, embodiment, job.rules, spoiled)
            staged: list[StagedEpisode] = []
            for number, episode in enumerate(found.episodes):
                try:
                    staged.append(_stage(number, episode, job, embodiment, progress))
                except SpoiledImageError as error:  # noqa: PERF203 - one must not hide the others
                    images = episode.images[error.camera]
                    assert isinstance(images, BagImages)
                    numbers = (int(images.numbers[frame]) for frame in error.frames)
                    spoiled.setdefault(error.camera, set()).update(numbers)
            if len(staged) < len(found.episodes):
                # Begin again without those images: their neighbours may do, or an episode ends there.
                continue
            report = found.report
            return SourceOutcome(
                job.source.name,
                tuple(staged),
                found.left_out,
                ticks=report.ticks,
                dropped=dict(report.dropped),
                notes=report.notes,
            )


def _stage_dataset(job: Job, embodiment: Embodiment, progress: Callable[[int], None]) -> SourceOutcome:
    staged: list[StagedEpisode] = []
    if job.source.kind is SourceKind.LEROBOT:
        dataset = Dataset(job.source.path)
        found = dataset_episodes(dataset, embodiment, job.names.for_lerobot(), job.source.part)
    else:
        found = rlds_episodes(job.source.path, embodiment, job.names.for_rlds())
    failed: dict[str, int] = {}

    def wanted() -> Iterable[Episode]:
        for episode in found:
            if job.rules.task:
                episode = replace(episode, instruction=job.rules.task)
            if episode.success is False and not job.rules.include_failed:
                failed["failed"] = failed.get("failed", 0) + len(episode)
            elif not episode.instruction:
                raise DataError(f"{job.source.name}: an episode has no instruction; pass one with --task")
            else:
                yield episode

    for number, episode in enumerate(wanted()):
        staged.append(_stage(number, episode, job, embodiment, progress))
    ticks = sum(episode.length for episode in staged) + sum(failed.values())
    left_out = "" if staged else "no episode is left"
    return SourceOutcome(job.source.name, tuple(staged), left_out, ticks=ticks, dropped=failed)


def _stage(
    number: int, episode: Episode, job: Job, embodiment: Embodiment, progress: Callable[[int], None]
) -> StagedEpisode:
    stem = f"part-{number:05d}"
    return stage(episode, embodiment, job.images, job.folder, stem, threads=job.threads, progress=progress)
