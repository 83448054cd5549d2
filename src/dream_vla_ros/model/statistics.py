"""Dataset statistics: between a robot's units and the [-1, 1] a model is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import CheckpointError, ModelInputError

EPSILON = 1e-8  # of the published mapping: keeps a dimension that never moves finite
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """Where one quantity's 1st and 99th percentiles lie; unmasked dimensions are left as they are."""

    low: Array
    high: Array
    mask: npt.NDArray[np.bool_]

    @property
    def dim(self) -> int:
        """Numbers in one vector."""
        return len(self.low)

    def unnormalize(self, values: Array) -> Array:
        """Map [-1, 1] to low..high on the last axis."""
        return np.where(self.mask, 0.5 * (values + 1) * (self.high - self.low + EPSILON) + self.low, values)

    def normalize(self, values: Array) -> Array:
        """Map low..high to [-1, 1] on the last axis; everything is clipped to [-1, 1]."""
        scaled = 2 * (values - self.low) / (self.high - self.low + EPSILON) - 1
        return np.clip(np.where(self.mask, scaled, values), -1.0, 1.0)

    @classmethod
    def from_dict(cls, data: Any, source: str) -> Range:
        """Read `q01`, `q99` and, if there, `mask`.

        :raises CheckpointError: naming `source` and the key that is missing or malformed.
        """
        try:
            low, high = (np.asarray(data[key], dtype=np.float64) for key in ("q01", "q99"))
            mask = np.asarray(data.get("mask", np.ones(low.shape)), dtype=bool)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{source} must hold lists q01 and q99 of numbers: {error!r}") from error
        if low.ndim != 1 or not low.size or low.shape != high.shape or low.shape != mask.shape:
            raise CheckpointError(
                f"{source}: q01, q99 and mask must be lists of one length, not {low.shape}, {high.shape}, "
                f"{mask.shape}"
            )
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise CheckpointError(f"{source}: q01 and q99 must be finite")
        return cls(low, high, mask)


class DatasetStatistics:
    """The statistics of every dataset a checkpoint was trained on, by name."""

    def __init__(self, data: Mapping[str, Any], source: str) -> None:
        """Read all of them.

        :param data: what `dataset_statistics.json` holds: name -> {"action": ..., "proprio": ...}.
        :param source: where it comes from, for error messages.
        """
        self.source = source
        self.data = data
        self.action: dict[str, Range] = {}
        self.proprio: dict[str, Range] = {}
        for name, entry in data.items():
            if not isinstance(entry, Mapping) or "action" not in entry:
                raise CheckpointError(f"{source}: {name!r} has no action statistics")
            self.action[name] = Range.from_dict(entry["action"], f"{source}: {name}.action")
            if entry.get("proprio"):
                self.proprio[name] = Range.from_dict(entry["proprio"], f"{source}: {name}.proprio")

    @property
    def keys(self) -> list[str]:
        """Names of the datasets."""
        return list(self.action)

    @property
    def action_dim(self) -> int | None:
        """Numbers in one action, None without statistics.

        :raises CheckpointError: if the datasets disagree.
        """
        dims = {entry.dim for entry in self.action.values()}
        if len(dims) > 1:
            raise CheckpointError(
                f"{self.source} has datasets of {sorted(dims)} action dimensions; keep those of one robot"
            )
        return dims.pop() if dims else None

    def resolve(self, unnorm_key: str | None) -> str:
        """Return the key to use; None stands for the only one.

        :raises ModelInputError: listing the keys there are.
        """
        if not self.action:
            raise ModelInputError(
                f"{self.source} holds no statistics: actions stay in [-1, 1]. Put the "
                "dataset_statistics.json of the training run into the folder"
            )
        if unnorm_key is None:
            if len(self.action) > 1:
                raise ModelInputError(f"unnorm_key is needed, one of {', '.join(self.keys)} ({self.source})")
            return self.keys[0]
        if unnorm_key not in self.action:
            raise ModelInputError(
                f"unnorm_key {unnorm_key!r} is not one of {', '.join(self.keys)} ({self.source})"
            )
        return unnorm_key

    def unnormalize_actions(self, actions: npt.ArrayLike, unnorm_key: str | None = None) -> Array:
        """Map normalised actions (..., dim) to the dataset's units."""
        key = self.resolve(unnorm_key)
        return self.action[key].unnormalize(_checked(actions, self.action[key], "actions", key))

    def normalize_actions(self, actions: npt.ArrayLike, unnorm_key: str | None = None) -> Array:
        """Map actions (..., dim) in the dataset's units to [-1, 1]."""
        key = self.resolve(unnorm_key)
        return self.action[key].normalize(_checked(actions, self.action[key], "actions", key))

    def normalize_proprio(self, proprio: npt.ArrayLike, unnorm_key: str | None = None) -> Array:
        """Map a robot's state (..., dim) in the dataset's units to [-1, 1].

        :raises ModelInputError: if that dataset has no proprio statistics, or of another length.
        """
        key = self.resolve(unnorm_key)
        if key not in self.proprio:
            raise ModelInputError(f"{self.source}: {key} has no proprio statistics, so pass no proprio")
        return self.proprio[key].normalize(_checked(proprio, self.proprio[key], "proprio", key))


def _checked(values: npt.ArrayLike, expected: Range, what: str, key: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != expected.dim:
        raise ModelInputError(
            f"{what} has shape {array.shape}, but {key} has {expected.dim} numbers on the last axis"
        )
    return array
