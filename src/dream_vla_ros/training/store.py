"""Training samples on disk, read through memory maps so that any of them can be drawn at any time.

A store is a folder of shards. A shard is a folder of NumPy arrays that appears under its name only when it is
complete, so that writing can be cut short and gone on with.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dream_vla_ros.training.errors import TrainingError

_ABOUT = "shard.json"
_FORMAT = 1
_ARRAYS = ("images", "actions", "proprio", "instruction", "episode")


@dataclass(frozen=True, eq=False)
class Samples:
    """Some moments of demonstrations, in the dataset's units.

    :param images: (N, cameras, size, size, 3) uint8 RGB, preprocessed as for inference but not cropped.
    :param actions: (N, chunk, dim) float32, in the model's convention, not normalised.
    :param proprio: (N, dim) float32, not normalised; no columns where the robot gives none.
    :param instructions: What was to be done in each moment.
    :param episode: (N,) int64 episode that each moment is from.
    :param labels: More arrays of N rows, float32, by name.
    """

    images: NDArray[np.uint8]
    actions: NDArray[np.float32]
    proprio: NDArray[np.float32]
    instructions: Sequence[str]
    episode: NDArray[np.int64]
    labels: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.images)
        lengths = {
            name: len(getattr(self, name)) for name in ("actions", "proprio", "instructions", "episode")
        }
        lengths |= {name: len(values) for name, values in self.labels.items()}
        for name, length in lengths.items():
            if length != count:
                raise TrainingError(f"{length} {name}, but {count} images")

    def __len__(self) -> int:
        return len(self.images)


def write_shard(store: str | Path, name: str, samples: Samples) -> Path:
    """Write one shard; it is there completely or not at all.

    :param name: Name of its folder; an existing shard of that name is replaced.
    :returns: The shard's folder.
    """
    target = Path(store) / name
    partial = target.with_name(f".{name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    words = sorted(set(samples.instructions))
    index = {text: at for at, text in enumerate(words)}
    arrays: dict[str, NDArray[Any]] = {
        "images": samples.images,
        "actions": samples.actions.astype(np.float32, copy=False),
        "proprio": samples.proprio.astype(np.float32, copy=False),
        "instruction": np.array([index[text] for text in samples.instructions], dtype=np.int32),
        "episode": samples.episode.astype(np.int64, copy=False),
        **{f"label_{key}": np.asarray(values, dtype=np.float32) for key, values in samples.labels.items()},
    }
    for key, values in arrays.items():
        np.save(partial / f"{key}.npy", values)
    about = {"format": _FORMAT, "samples": len(samples), "instructions": words, "labels": [*samples.labels]}
    (partial / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target


def has_shard(store: str | Path, name: str) -> bool:
    """Tell whether a shard was written completely."""
    return (Path(store) / name / _ABOUT).is_file()


class SampleStore:
    """All samples of a store by one running number.

    :param folder: The store.
    :raises TrainingError: If there is no sample, or a shard is damaged or differs from the others in shape.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        paths = sorted(path.parent for path in self.folder.glob(f"[!.]*/{_ABOUT}"))
        if not paths:
            raise TrainingError(
                f"{self.folder} holds no samples: write demonstrations or a dataset there first"
            )
        self._shards = [_Shard(path) for path in paths]
        self._ends = np.cumsum([len(shard) for shard in self._shards])
        first = self._shards[0]
        for shard in self._shards[1:]:
            if shard.shapes != first.shapes:
                raise TrainingError(f"{shard.path}: shapes {shard.shapes} differ from those of {first.path}")

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(self._shards[0].labels)

    def take(self, indices: ArrayLike) -> Samples:
        """Copy samples by their numbers, in that order."""
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"samples {wanted.min()} to {wanted.max()} asked for, there are {len(self)}")
        shard_of = np.searchsorted(self._ends, wanted, side="right")
        rows = [
            self._shards[shard].row(int(index - (self._ends[shard - 1] if shard else 0)))
            for shard, index in zip(shard_of, wanted, strict=True)
        ]
        return Samples(
            images=np.stack([row["images"] for row in rows]),
            actions=np.stack([row["actions"] for row in rows]),
            proprio=np.stack([row["proprio"] for row in rows]),
            instructions=[row["instruction"] for row in rows],
            episode=np.array([row["episode"] for row in rows], dtype=np.int64),
            labels={key: np.stack([row[f"label_{key}"] for row in rows]) for key in self.labels},
        )

    def numbers(self, prefix: str) -> NDArray[np.int64]:
        """Return the numbers of the samples in shards whose names begin so."""
        starts = [0, *self._ends[:-1].tolist()]
        chosen = [
            np.arange(start, start + len(shard))
            for start, shard in zip(starts, self._shards, strict=True)
            if shard.path.name.startswith(prefix)
        ]
        return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)

    def column(self, name: str) -> NDArray[Any]:
        """Return a whole column: ``actions``, ``proprio``, ``episode`` or a label's name."""
        key = name if name in _ARRAYS else f"label_{name}"
        return np.concatenate([shard.arrays[key] for shard in self._shards])

    def instructions(self) -> list[str]:
        """Return every different instruction, sorted."""
        return sorted({text for shard in self._shards for text in shard.words})


class _Shard:
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            about = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
            if about["format"] != _FORMAT:
                raise TrainingError(f"{path / _ABOUT}: format {about['format']} is not known; write it anew")
            self.words: list[str] = about["instructions"]
            self.labels: list[str] = about["labels"]
            names = (*_ARRAYS, *(f"label_{key}" for key in self.labels))
            self.arrays = {key: np.load(path / f"{key}.npy", mmap_mode="r") for key in names}
            self._images = (path / "images.npy").open("rb")
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"{path} is damaged ({error}): remove it and write it anew") from error

    def __len__(self) -> int:
        return len(self.arrays["images"])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: values.shape[1:] for key, values in self.arrays.items()}

    def row(self, index: int) -> dict[str, Any]:
        row = {key: values[index] for key, values in self.arrays.items() if key != "images"}
        row["images"] = self._read(index)
        return row | {"instruction": self.words[int(row["instruction"])]}

    def _read(self, index: int) -> NDArray[np.uint8]:
        # Touching a map page by page takes ten times as long as one read while the file is not in memory.
        images = self.arrays["images"]
        size = images[0].nbytes
        content = os.pread(self._images.fileno(), size, images.offset + index * size)
        if len(content) != size:
            raise TrainingError(f"{self.path} is damaged (images end early): remove it and write it anew")
        return np.frombuffer(content, dtype=np.uint8).reshape(images.shape[1:])
