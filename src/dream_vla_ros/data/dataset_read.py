"""Read LeRobot datasets of version 2.0, 2.1 and 3.0, whoever wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dream_vla_ros.data import dataset_layout as layout
from dream_vla_ros.data.episode import StoredImage
from dream_vla_ros.data.errors import DatasetError
from dream_vla_ros.data.video import read_video
from dream_vla_ros.images import RGBImage, decode

_VERSIONS = ("v2.0", "v2.1", "v3.0")
_PNG = b"\x89PNG"


@dataclass(frozen=True)
class DatasetEpisode:
    """One episode of a dataset.

    :param tasks: Its instructions; one, in nearly all sets.
    :param success: Whether it succeeded; None where nobody said.
    """

    index: int
    length: int
    tasks: tuple[str, ...]
    row: Mapping[str, Any]
    success: bool | None = None

    @property
    def instruction(self) -> str:
        """What was done."""
        return self.tasks[0] if self.tasks else ""


class Dataset:
    """One LeRobot dataset in a folder.

    :param path: Folder with ``meta/info.json``.
    :raises DatasetError: If it is of another version, or a file of it is missing or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.info = self._json(layout.INFO)
        self.version = str(self.info.get("codebase_version", ""))
        if self.version not in _VERSIONS:
            raise DatasetError(
                f"{self.path / layout.INFO}: version '{self.version}' is none of {', '.join(_VERSIONS)}"
            )
        try:
            self.rate = float(self.info["fps"])
            self.features: dict[str, dict[str, Any]] = self.info["features"]
            self._data_path, self._video_path = self.info["data_path"], self.info.get("video_path")
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{self.path / layout.INFO}: {error!r} is missing or malformed") from error
        self.tasks = self._read_tasks()
        self.episodes = self._read_episodes()

    @property
    def cameras(self) -> dict[str, str]:
        """Camera names to their features."""
        return {
            key.removeprefix(layout.CAMERA_PREFIX): key
            for key, feature in self.features.items()
            if feature["dtype"] in ("image", "video")
        }

    @property
    def statistics(self) -> dict[str, Any] | None:
        """What ``dataset_statistics.json`` holds; None where the set was not made by this package."""
        return self._json(layout.MODEL_STATISTICS) if (self.path / layout.MODEL_STATISTICS).exists() else None

    @property
    def frames(self) -> int:
        """Frames of all episodes."""
        return sum(episode.length for episode in self.episodes)

    def columns(self, episode: DatasetEpisode, names: Sequence[str] | None = None) -> dict[str, Any]:
        """Read the numbers of an episode.

        :param names: Features; all that are numbers by default.
        :returns: Features to (frames,) or (frames, numbers).
        :raises DatasetError: If a feature or frame is missing.
        """
        wanted = names or [
            key for key, one in self.features.items() if one["dtype"] not in ("image", "video")
        ]
        table = self._table(episode, wanted)
        return {name: self._array(table, name) for name in wanted}

    def images(self, episode: DatasetEpisode, camera: str) -> DatasetImages:
        """Return the images of one camera in an episode.

        :param camera: Name as in ``cameras``.
        :raises DatasetError: If there is no such camera.
        """
        if camera not in self.cameras:
            known = ", ".join(self.cameras) or "none"
            raise DatasetError(f"{self.path}: no camera '{camera}'; there are {known}")
        return DatasetImages(self, episode, self.cameras[camera])

    def frames_of(self, episode: DatasetEpisode, key: str, start: int, count: int) -> Iterator[StoredImage]:
        """Read some images of a feature in order."""
        if self.features[key]["dtype"] == "video":
            path, first = self._video(episode, key)
            for image in read_video(path, first + start, count, self.rate):
                yield StoredImage(partial(_same, image))
            return
        column = self._table(episode, [key])[key].slice(start, count)
        for frame, cell in enumerate(column):
            yield self._stored(
                cell.as_py(), f"{self.path}: episode {episode.index}, {key}, frame {start + frame}"
            )

    def _stored(self, cell: Any, where: str) -> StoredImage:
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if data is None and isinstance(cell, dict) and cell.get("path"):
            data = self._bytes(self.path / cell["path"])
        if not isinstance(data, bytes):
            raise DatasetError(f"{where}: holds no image")
        kind = "png" if data.startswith(_PNG) else "jpeg"
        return StoredImage(partial(decode, SimpleNamespace(format=kind, data=data), where), data)

    def _video(self, episode: DatasetEpisode, key: str) -> tuple[Path, int]:
        """Return the file of an episode's video and the number of its first frame there."""
        if self._video_path is None:
            raise DatasetError(f"{self.path / layout.INFO}: '{key}' is a video, but video_path is missing")
        if self.version == "v3.0":
            place = {name: int(episode.row[f"videos/{key}/{name}"]) for name in ("chunk_index", "file_index")}
            first = round(float(episode.row[f"videos/{key}/from_timestamp"]) * self.rate)
            return self.path / self._video_path.format(video_key=key, **place), first
        return self.path / self._video_path.format(video_key=key, **self._legacy(episode.index)), 0

    def _table(self, episode: DatasetEpisode, names: Sequence[str]) -> pa.Table:
        missing = [name for name in names if name not in self.features]
        if missing:
            raise DatasetError(
                f"{self.path}: no feature {', '.join(missing)}; there are {', '.join(self.features)}"
            )
        if self.version == "v3.0":
            place = {name: int(episode.row[f"data/{name}"]) for name in ("chunk_index", "file_index")}
            path = self.path / self._data_path.format(**place)
        else:
            path = self.path / self._data_path.format(**self._legacy(episode.index))
        try:
            table = pq.read_table(path, columns=list(names), filters=[("episode_index", "=", episode.index)])
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"{path}: cannot be read: {error}") from error
        if table.num_rows != episode.length:
            raise DatasetError(
                f"{path}: episode {episode.index} has {table.num_rows} frames there, not {episode.length}"
            )
        return table

    def _array(self, table: pa.Table, name: str) -> npt.NDArray[Any]:
        column = table[name].combine_chunks()
        if pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type):
            flat = column.flatten().to_numpy(zero_copy_only=False)
            shape = tuple(self.features[name]["shape"])
            return np.asarray(flat).reshape(table.num_rows, *shape)
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def _read_tasks(self) -> dict[int, str]:
        if self.version != "v3.0":
            return {int(row["task_index"]): str(row["task"]) for row in self._lines("meta/tasks.jsonl")}
        table = self._parquet(layout.TASKS)
        texts = next((name for name in table.column_names if name != "task_index"), None)
        if texts is None:
            raise DatasetError(f"{self.path / layout.TASKS}: holds no texts")
        pairs = zip(table["task_index"].to_pylist(), table[texts].to_pylist(), strict=True)
        return {int(index): str(text) for index, text in pairs}

    def _read_episodes(self) -> list[DatasetEpisode]:
        if self.version != "v3.0":
            rows = list(self._lines("meta/episodes.jsonl"))
        else:
            files = sorted((self.path / "meta/episodes").glob("*/*.parquet"))
            if not files:
                raise DatasetError(f"{self.path / 'meta/episodes'}: no episodes there")
            rows = [row for file in files for row in self._episode_rows(file)]
        return [
            DatasetEpisode(
                int(row["episode_index"]),
                int(row["length"]),
                tuple(str(task) for task in row.get("tasks") or ()),
                row,
                row.get("dream_vla/success"),
            )
            for row in sorted(rows, key=lambda row: int(row["episode_index"]))
        ]

    def _episode_rows(self, file: Path) -> list[dict[str, Any]]:
        table = self._parquet(file.relative_to(self.path).as_posix())
        kept = [name for name in table.column_names if not name.startswith("stats/")]
        rows: list[dict[str, Any]] = table.select(kept).to_pylist()
        return rows

    def _legacy(self, index: int) -> dict[str, int]:
        return {"episode_chunk": index // int(self.info.get("chunks_size", 1000)), "episode_index": index}

    def _parquet(self, name: str) -> pa.Table:
        try:
            return pq.read_table(self.path / name)
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"{self.path / name}: cannot be read: {error}") from error

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self._bytes(self.path / name))
        except ValueError as error:
            raise DatasetError(f"{self.path / name}: not JSON: {error}") from error

    def _lines(self, name: str) -> Iterator[Any]:
        for number, line in enumerate(self._bytes(self.path / name).splitlines()):
            try:
                yield json.loads(line)
            except ValueError as error:  # noqa: PERF203 - the line number is wanted
                raise DatasetError(f"{self.path / name}, line {number + 1}: not JSON: {error}") from error

    def _bytes(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read: {error}") from error


@dataclass(frozen=True, eq=False)
class DatasetImages:
    """Images of one camera in one episode of a dataset.

    :param key: The camera's feature.
    """

    dataset: Dataset
    episode: DatasetEpisode
    key: str

    def __len__(self) -> int:
        return self.episode.length

    def __iter__(self) -> Iterator[StoredImage]:
        return self.dataset.frames_of(self.episode, self.key, 0, self.episode.length)

    def __getitem__(self, frame: int) -> StoredImage:
        return next(islice(self.dataset.frames_of(self.episode, self.key, frame, 1), 1))


def is_dataset(path: Path) -> bool:
    """Whether a folder is a LeRobot dataset."""
    return (path / layout.INFO).is_file()


def _same(image: RGBImage) -> RGBImage:
    return image
