"""Statistics of a dataset's numbers and images, in LeRobot's layout and in the published models'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dream_vla_ros.geometry import Array
from dream_vla_ros.images import RGBImage

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
# Every 8th frame and every 4th row and column tell the colours of an episode as well as all of them.
_FRAME_STEP = 8
_PIXEL_STEP = 4
_LEVELS = 256


class ColourCount:
    """How often each level of each colour was seen in some images."""

    def __init__(self, counts: npt.ArrayLike | None = None, frames: int = 0) -> None:
        """Begin.

        :param counts: (3, 256) counted before.
        """
        zero = np.zeros((3, _LEVELS), dtype=np.int64)
        self.counts = zero if counts is None else np.asarray(counts, dtype=np.int64)
        self.frames = frames
        self._seen = 0

    def add(self, image: RGBImage) -> None:
        """Count a frame, if it is one of those that are looked at."""
        if self._seen % _FRAME_STEP == 0:
            for channel in range(3):
                levels = image[::_PIXEL_STEP, ::_PIXEL_STEP, channel].reshape(-1)
                self.counts[channel] += np.bincount(levels, minlength=_LEVELS)
            self.frames += 1
        self._seen += 1

    def merge(self, other: ColourCount) -> ColourCount:
        """Return the counts of both."""
        return ColourCount(self.counts + other.counts, self.frames + other.frames)

    def statistics(self) -> dict[str, Any]:
        """Return LeRobot's statistics of a camera: (3, 1, 1) each, levels from 0 to 1."""
        levels = np.arange(_LEVELS) / (_LEVELS - 1)
        total = np.maximum(self.counts.sum(axis=1), 1)
        mean = self.counts @ levels / total
        std = np.sqrt(np.maximum(self.counts @ levels**2 / total - mean**2, 0.0))
        seen = self.counts > 0
        cumulated = np.cumsum(self.counts, axis=1)
        found = {
            "min": levels[np.argmax(seen, axis=1)],
            "max": levels[_LEVELS - 1 - np.argmax(seen[:, ::-1], axis=1)],
            "mean": mean,
            "std": std,
        }
        for name, share in QUANTILES.items():
            found[name] = levels[np.argmax(cumulated >= (share * total)[:, None], axis=1)]
        shaped = {name: value[:, None, None].tolist() for name, value in found.items()}
        return shaped | {"count": [self.frames]}


def number_statistics(values: npt.NDArray[Any]) -> dict[str, Any]:
    """Return LeRobot's statistics of a feature.

    :param values: (frames,) or (frames, numbers).
    """
    table = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    found = {
        "min": table.min(axis=0),
        "max": table.max(axis=0),
        "mean": table.mean(axis=0),
        "std": table.std(axis=0),
    }
    for name, share in QUANTILES.items():
        found[name] = np.quantile(table, share, axis=0)
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(table)]}


def model_statistics(key: str, actions: Array, proprio: Array, episodes: int) -> dict[str, Any]:
    """Return what ``dataset_statistics.json`` holds: what actions and proprio are normalised by.

    :param key: Name the statistics go by: a model's ``unnorm_key``.
    :param actions: (frames, 7) in the model's convention.
    :param proprio: (frames, numbers); no numbers where the model sees none.
    """
    # The gripper is absolute and stays as it is.
    entry: dict[str, Any] = {"action": _published(actions, [*[True] * (actions.shape[1] - 1), False])}
    if proprio.shape[1]:
        entry["proprio"] = _published(proprio, [True] * proprio.shape[1])
    return {key: entry | {"num_transitions": len(actions), "num_trajectories": episodes}}


def _published(values: Array, mask: Sequence[bool]) -> Mapping[str, Any]:
    found = number_statistics(values)
    wanted = {name: found[name] for name in ("mean", "std", "max", "min", "q01", "q99")}
    return wanted | {"mask": list(mask)}
