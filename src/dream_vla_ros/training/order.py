"""Which samples a step takes: a pure function of seed and step, so that resuming needs no memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray


class SampleOrder:
    """Goes through all samples in a new random order each epoch.

    :param indices: Numbers of the samples.
    :param batch_size: Samples per step.
    :param seed: Of the orders.
    """

    def __init__(self, indices: ArrayLike, batch_size: int, seed: int) -> None:
        self._indices = np.asarray(indices, dtype=np.int64)
        if not self._indices.size:
            raise ValueError("there are no samples to train on")
        self._batch_size = batch_size
        self._seed = seed

    def batch(self, step: int) -> NDArray[np.int64]:
        """Return the samples of a step, counted from 0; a batch may span two epochs."""
        places = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epochs, within = np.divmod(places, len(self._indices))
        chosen = [self._epoch(int(epoch))[at] for epoch, at in zip(epochs, within, strict=True)]
        return self._indices[chosen]

    def epochs(self, steps: int) -> float:
        """Return how often each sample is seen in so many steps."""
        return steps * self._batch_size / len(self._indices)

    @lru_cache(maxsize=2)  # noqa: B019  one order lives as long as its training
    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._indices))


class MixedOrder:
    """Draws from several datasets by weight.

    :param groups: Numbers of the samples of each dataset.
    :param weights: Share of each in the draw, of any sum.
    :param batch_size: Samples per step.
    :param seed: Of the draw.
    """

    def __init__(
        self, groups: Sequence[ArrayLike], weights: Sequence[float], batch_size: int, seed: int
    ) -> None:
        self._groups = [np.asarray(group, dtype=np.int64) for group in groups]
        shares = np.asarray(weights, dtype=np.float64)
        if len(shares) != len(self._groups) or not len(shares):
            raise ValueError(f"{len(self._groups)} datasets, but {len(shares)} weights")
        if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
            raise ValueError(f"weights {list(weights)} are not shares")
        if any(not group.size and share for group, share in zip(self._groups, shares, strict=True)):
            raise ValueError("a dataset with a weight has no samples")
        self._shares = shares / shares.sum()
        self._batch_size = batch_size
        self._seed = seed

    def batch(self, step: int) -> NDArray[np.int64]:
        """Return the samples of a step, counted from 0."""
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.choice(len(self._groups), self._batch_size, p=self._shares)
        return np.array([rng.choice(self._groups[group]) for group in chosen], dtype=np.int64)
