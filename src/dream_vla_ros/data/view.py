"""What a person looks at in an episode: a few series of numbers and small images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dream_vla_ros.data import dataset_layout as layout
from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.bag_episodes import BagRules, read_episodes
from dream_vla_ros.data.convert_job import SourceKind, kind_of
from dream_vla_ros.data.dataset_read import Dataset, DatasetEpisode
from dream_vla_ros.data.episode import Episode, ImageSource
from dream_vla_ros.data.errors import DataError, DatasetError
from dream_vla_ros.data.idle import IdleRule, Trim
from dream_vla_ros.data.recording import Recording
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Array
from dream_vla_ros.images import ImageError, RGBImage
from dream_vla_ros.series import Int64

# Large enough to see what moves, small enough to compare hundreds.
_COMPARED = (64, 48)
_THUMBNAIL_WIDTH = 160
_UNTOLD = "(no instruction)"


@dataclass(frozen=True, eq=False)
class CameraView:
    """One camera in one episode.

    :param times_s: (frames,) capture times from the episode's beginning.
    :param changes: (frames,) mean absolute change to the frame before, in levels of 255; 0 for the first.
    :param brightness: (frames,) mean level.
    :param thumbnails: Some images, evenly spread, and their frames.
    :param intervals_s: Times between successive images of the camera, whether used or not.
    """

    times_s: Array
    intervals_s: Array
    changes: Array
    brightness: Array
    thumbnails: tuple[tuple[int, RGBImage], ...]
    damaged: int = 0


@dataclass(frozen=True, eq=False)
class View:
    """One episode.

    :param actions: (frames, numbers).
    :param state: (frames, numbers); no numbers where there is none.
    :param speed: (frames,) of the end effector after each frame, m/s or the actions' unit per period.
    :param command: (frames,) gripper command; None where unknown.
    :param opening: (frames,) measured opening; None where unknown.
    :param stamps_s: (frames,) from the episode's beginning.
    """

    name: str
    instruction: str
    period_s: float
    actions: Array
    action_names: Sequence[str]
    state: Array
    state_names: Sequence[str]
    speed: Array
    command: Array | None
    opening: Array | None
    stamps_s: Array
    cameras: dict[str, CameraView]

    def __len__(self) -> int:
        return len(self.actions)


def views(
    path: Path, robot: Path | None, rules: BagRules, *, limit: int, thumbnails: int
) -> tuple[list[View], list[str]]:
    """Look at episodes of a bag or dataset, spread evenly over it.

    :param robot: The robot's file; needed for bags.
    :param limit: Most episodes to look at.
    :param thumbnails: Images to keep of each camera.
    :returns: The episodes, and what was noticed while reading.
    :raises DataError: If it cannot be read.
    """
    kind = kind_of(path)
    if kind is SourceKind.LEROBOT:
        dataset = Dataset(path)
        chosen = _spread(dataset.episodes, limit)
        return [_of_dataset(dataset, episode, thumbnails) for episode in chosen], []
    if kind is SourceKind.BAG:
        if robot is None:
            raise DataError(
                f"{path} is a bag: pass the robot's file with --robot to say which topics are what"
            )
        embodiment = at_camera_rate(Embodiment.from_file(robot))
        whole = replace(
            rules, idle=IdleRule(Trim.NONE), default_task=_UNTOLD, include_failed=True, min_frames=1
        )
        with Bag(path) as bag:
            found = read_episodes(bag, embodiment, whole)
            notes = [*found.report.notes]
            notes += [f"{count} frames {reason}" for reason, count in found.report.dropped.items()]
            chosen_episodes = _spread(found.episodes, limit)
            recording = Recording(bag, embodiment, rules.names, rules.clock_offsets_s)
            stamps = {one.name: recording.camera(one).stamps_ns for one in embodiment.cameras}
            return [_of_episode(one, embodiment, stamps, thumbnails) for one in chosen_episodes], notes
    raise DataError(f"{path}: neither a bag nor a LeRobot dataset")


def at_camera_rate(embodiment: Embodiment) -> Embodiment:
    """Return the robot as if it acted at its cameras' rate, to see lags that its own period would hide."""
    rate = min(embodiment.timing.camera_rate, embodiment.timing.control_rate)
    return replace(embodiment, action=replace(embodiment.action, rate=max(rate, embodiment.action.rate)))


def _of_episode(
    episode: Episode, embodiment: Embodiment, stamps_ns: Mapping[str, Int64], thumbnails: int
) -> View:
    described = layout.features(embodiment, {}, None)
    first, last = int(episode.times_ns[0]), int(episode.times_ns[-1])
    cameras = {}
    for name, source in episode.images.items():
        times_s = (episode.image_stamps_ns[name] - first).astype(np.float64) * 1e-9
        seen = camera_view(source, times_s, thumbnails)
        within = stamps_ns[name][(stamps_ns[name] >= first) & (stamps_ns[name] <= last)]
        cameras[name] = replace(seen, intervals_s=np.diff(within) * 1e-9)
    known = np.isfinite(episode.opening).all()
    return View(
        name=f"{episode.origin.source} #{episode.origin.part}",
        instruction=episode.instruction,
        period_s=episode.period_s,
        actions=episode.actions,
        action_names=described[layout.ACTION]["names"],
        state=np.concatenate([episode.poses.positions, episode.poses.quaternions], axis=1),
        state_names=described[layout.POSE]["names"],
        speed=np.linalg.norm(episode.motion.translation, axis=1) / episode.period_s,
        command=episode.motion.gripper,
        opening=episode.opening if known else None,
        stamps_s=(episode.times_ns - episode.times_ns[0]) * 1e-9,
        cameras=cameras,
    )


def _of_dataset(dataset: Dataset, episode: DatasetEpisode, thumbnails: int) -> View:
    if layout.ACTION not in dataset.features:
        raise DatasetError(f"{dataset.path}: no feature '{layout.ACTION}'")
    columns = dataset.columns(episode)
    actions = np.asarray(columns[layout.ACTION], dtype=np.float64).reshape(episode.length, -1)
    state = np.asarray(columns.get(layout.STATE, np.zeros((episode.length, 0))), dtype=np.float64)
    motion = columns.get(layout.MOTION)
    period_s = 1.0 / dataset.rate
    moved = actions[:, :3] if motion is None else motion[:, :3] / period_s
    times = np.asarray(columns.get("timestamp", np.arange(episode.length) * period_s), dtype=np.float64)
    cameras = {
        name: camera_view(dataset.images(episode, name), times, thumbnails) for name in dataset.cameras
    }
    opening = columns.get(layout.OPENING)
    state = state.reshape(episode.length, -1)
    return View(
        name=f"{dataset.path.name} #{episode.index}",
        instruction=episode.instruction,
        period_s=period_s,
        actions=actions,
        action_names=_names(dataset.features[layout.ACTION], actions.shape[1]),
        state=state,
        state_names=_names(dataset.features.get(layout.STATE, {}), state.shape[1]),
        speed=np.linalg.norm(moved, axis=1),
        command=actions[:, -1] if motion is None else np.asarray(motion[:, -1], dtype=np.float64),
        opening=None if opening is None else np.asarray(opening, dtype=np.float64),
        stamps_s=times,
        cameras=cameras,
    )


def camera_view(source: ImageSource, times_s: Array, thumbnails: int) -> CameraView:
    """Go through the images of a camera once.

    :param times_s: (frames,) capture times.
    :param thumbnails: Images to keep.
    """
    count = len(source)
    kept = set(np.linspace(0, count - 1, min(thumbnails, count)).astype(int).tolist())
    changes, brightness = np.zeros(count), np.zeros(count)
    small: list[tuple[int, RGBImage]] = []
    before: npt.NDArray[np.float32] | None = None
    damaged = 0
    for frame, image in enumerate(_decoded(source)):
        if image is None:
            damaged += 1
            continue
        tiny = cv2.resize(image, _COMPARED, interpolation=cv2.INTER_AREA).astype(np.float32)
        changes[frame] = 0.0 if before is None else float(np.mean(np.abs(tiny - before)))
        brightness[frame] = float(np.mean(tiny))
        before = tiny
        if frame in kept:
            height = max(1, round(image.shape[0] * _THUMBNAIL_WIDTH / image.shape[1]))
            resized = cv2.resize(image, (_THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)
            small.append((frame, np.asarray(resized, dtype=np.uint8)))
    return CameraView(times_s, np.diff(times_s), changes, brightness, tuple(small), damaged)


def _decoded(source: ImageSource) -> Iterator[RGBImage | None]:
    for stored in source:
        try:
            image: RGBImage | None = stored.decode()
        except ImageError:
            image = None
        yield image


def _names(feature: Any, count: int) -> list[str]:
    names = feature.get("names")
    if isinstance(names, dict):  # some sets put a word above the list
        names = next(iter(names.values()), None)
    if isinstance(names, list) and len(names) == count:
        return [str(name) for name in names]
    return [str(number) for number in range(count)]


def _spread(items: Sequence[Any], limit: int) -> list[Any]:
    if len(items) <= limit:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, limit).astype(int)]
