"""One episode written aside, before it takes its place in a dataset.

Episodes are made in any order, by several processes, and a conversion may be stopped between them: each is a
few files and a description, complete or not there at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dream_vla_ros.data import dataset_layout as layout
from dream_vla_ros.data.episode import Episode, StoredImage
from dream_vla_ros.data.errors import DatasetError
from dream_vla_ros.data.frame_statistics import ColourCount, number_statistics
from dream_vla_ros.data.video import VideoSettings, VideoWriter
from dream_vla_ros.embodiment import Camera, Embodiment
from dream_vla_ros.images import ImageError, Preprocessing, RGBImage, preprocess, rotate_180

# zlib's fastest level: a third of the time of the default for a few percent more bytes.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_PROGRESS_FRAMES = 50


class ImageStorage(str, Enum):
    """How a dataset keeps images."""

    VIDEO = "video"
    """As MP4, small; what LeRobot does by default."""
    EXACT = "exact"
    """Every pixel as recorded: JPEG and PNG images as they came, raw ones as PNG."""


@dataclass(frozen=True)
class ImageRules:
    """What is done to images.

    :param size: 0 keeps images as the cameras took them. Another value does the model's own preprocessing up
        to the crop: turned upright, through JPEG, resized to a square of that many pixels.
    :param jpeg: Whether that goes through JPEG, as the model's preprocessing says.
    """

    storage: ImageStorage = ImageStorage.VIDEO
    size: int = 0
    jpeg: bool = True
    video: VideoSettings = field(default_factory=VideoSettings)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What is applied to each image; None for nothing."""
        return Preprocessing(self.size, self.jpeg, crop_area=1.0) if self.size else None


class SpoiledImageError(DatasetError):
    """Images that cannot be decoded.

    :param camera: Their camera.
    :param frames: Their frames in the episode.
    :param reason: Why the first of them cannot.
    """

    def __init__(self, camera: str, frames: Sequence[int], reason: str) -> None:
        super().__init__(f"camera '{camera}', frame {frames[0]}: {reason}")
        self.camera = camera
        self.frames = tuple(frames)


@dataclass(frozen=True)
class StagedEpisode:
    """Description of one episode on disk.

    :param stem: Beginning of its files' names.
    :param images: Camera names to height and width.
    :param statistics: Features to their statistics, in LeRobot's layout.
    :param colours: Camera names to counts (3, 256) and frames counted.
    """

    stem: str
    length: int
    instruction: str
    source: str
    part: int
    first_ns: int
    success: bool | None
    images: Mapping[str, tuple[int, int]]
    statistics: Mapping[str, Any]
    colours: Mapping[str, tuple[list[list[int]], int]]

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StagedEpisode:
        """Read it back."""
        images = {name: (int(size[0]), int(size[1])) for name, size in values["images"].items()}
        colours = {name: (counts, int(frames)) for name, (counts, frames) in values["colours"].items()}
        return cls(**{**values, "images": images, "colours": colours})


def stage(
    episode: Episode,
    embodiment: Embodiment,
    rules: ImageRules,
    folder: Path,
    stem: str,
    *,
    threads: int = 1,
    progress: Callable[[int], None] = lambda frames: None,
) -> StagedEpisode:
    """Write one episode aside.

    :param threads: Cameras to work on at once.
    :param progress: Told how many more images are done.
    :raises SpoiledImageError: If an image cannot be decoded.
    :raises DatasetError: If images change their size.
    """
    columns = frame_columns(episode, embodiment)
    statistics = {name: number_statistics(np.asarray(values)) for name, values in columns.items()}
    images: dict[str, tuple[int, int]] = {}
    colours: dict[str, tuple[list[list[int]], int]] = {}
    cells: dict[str, list[dict[str, Any]]] = {}

    def work(camera: Camera) -> None:
        worker = _CameraWork(episode, camera, rules, folder / f"{stem}-{camera.name}.mp4", progress)
        cells[camera.name] = worker.run()
        images[camera.name] = worker.size
        colours[camera.name] = (worker.colours.counts.tolist(), worker.colours.frames)

    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        for done in [pool.submit(work, camera) for camera in embodiment.cameras]:
            done.result()
    for camera in embodiment.cameras:
        statistics[layout.CAMERA_PREFIX + camera.name] = ColourCount(*colours[camera.name]).statistics()
        if rules.storage is ImageStorage.EXACT:
            columns[layout.CAMERA_PREFIX + camera.name] = cells[camera.name]
    schema = layout.data_schema(
        {name: one for name, one in described(embodiment, images, rules).items() if name in columns}
    )
    table = pa.table({name: columns[name] for name in schema.names}, schema=schema)
    pq.write_table(table, folder / f"{stem}.parquet", compression="snappy")
    return StagedEpisode(
        stem=stem,
        length=len(episode),
        instruction=episode.instruction,
        source=episode.origin.source,
        part=episode.origin.part,
        first_ns=episode.origin.first_ns,
        success=episode.success,
        images={camera.name: images[camera.name] for camera in embodiment.cameras},
        statistics=statistics,
        colours={camera.name: colours[camera.name] for camera in embodiment.cameras},
    )


def described(
    embodiment: Embodiment, images: Mapping[str, tuple[int, int]], rules: ImageRules
) -> dict[str, dict[str, Any]]:
    """Describe the features of a dataset made by these rules."""
    video = None
    if rules.storage is ImageStorage.VIDEO:
        rate = embodiment.action.rate
        video = {
            "video.codec": rules.video.codec.value,
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": int(rate) if rate == int(rate) else rate,
            "video.channels": 3,
            "has_audio": False,
        }
    ordered = {camera.name: images[camera.name] for camera in embodiment.cameras}
    return layout.features(embodiment, ordered, video)


def frame_columns(episode: Episode, embodiment: Embodiment) -> dict[str, Any]:
    """Return the numbers of an episode by feature, without those that depend on its place in the dataset."""
    pose = np.concatenate([episode.poses.positions, episode.poses.quaternions], axis=1)
    motion = episode.motion
    columns: dict[str, Any] = {
        layout.STATE: episode.proprio if episode.proprio.shape[1] else pose,
        layout.POSE: pose,
        layout.ACTION: episode.actions,
        layout.MOTION: np.concatenate([motion.translation, motion.rotation, motion.gripper[:, None]], axis=1),
    }
    columns = {name: list(values.astype(np.float32)) for name, values in columns.items()}
    if embodiment.state.finger_joints:
        columns[layout.OPENING] = episode.opening.astype(np.float32)
    columns[layout.TAKEOVER] = episode.takeover
    columns[layout.STAMP] = episode.times_ns
    columns["timestamp"] = (np.arange(len(episode)) * episode.period_s).astype(np.float32)
    columns["frame_index"] = np.arange(len(episode), dtype=np.int64)
    return columns


class _CameraWork:
    """Stores the images of one camera in one episode."""

    def __init__(
        self,
        episode: Episode,
        camera: Camera,
        rules: ImageRules,
        path: Path,
        progress: Callable[[int], None],
    ) -> None:
        self.colours = ColourCount()
        self.size = (0, 0)
        self._episode = episode
        self._camera = camera
        self._rules = rules
        self._path = path
        self._progress = progress
        self._preprocessing = rules.preprocessing

    def run(self) -> list[dict[str, Any]]:
        """Go through all frames; returns the cells of the image column, none for a video."""
        if self._rules.storage is ImageStorage.EXACT:
            return [{"bytes": self._cell(stored, image), "path": None} for stored, image in self._images()]
        rate = 1.0 / self._episode.period_s
        with VideoWriter(self._path, rate, self._rules.video) as video:
            for _, image in self._images():
                video.write(image)
        return []

    def _images(self) -> Any:
        name = self._camera.name
        spoiled: list[int] = []
        reason = ""
        for frame, stored in enumerate(self._episode.images[name]):
            try:
                image = self._prepared(stored.decode())
            except ImageError as error:
                spoiled.append(frame)
                reason = reason or str(error)
            if spoiled:
                continue  # the episode is made anew without them, so only further ones are looked for
            if frame == 0:
                self.size = (image.shape[0], image.shape[1])
            elif image.shape[:2] != self.size:
                raise DatasetError(
                    f"{self._episode.origin.source}: images of camera '{name}' change from {self.size[1]} x "
                    f"{self.size[0]} to {image.shape[1]} x {image.shape[0]} pixels at frame {frame}"
                )
            self.colours.add(image)
            yield stored, image
            if frame % _PROGRESS_FRAMES == _PROGRESS_FRAMES - 1:
                self._progress(_PROGRESS_FRAMES)
        if spoiled:
            raise SpoiledImageError(name, spoiled, reason)
        self._progress(len(self._episode) % _PROGRESS_FRAMES)

    def _prepared(self, image: RGBImage) -> RGBImage:
        if self._preprocessing is None:
            return image
        upright = rotate_180(image) if self._camera.rotate_180 else image
        return preprocess(upright, self._preprocessing)

    def _cell(self, stored: StoredImage, image: RGBImage) -> bytes:
        if stored.encoded and self._preprocessing is None:
            return stored.encoded
        done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _PNG_OPTIONS)
        if not done:
            raise DatasetError(f"camera '{self._camera.name}': an image cannot be stored as PNG")
        return data.tobytes()
