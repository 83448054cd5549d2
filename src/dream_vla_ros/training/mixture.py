"""Several datasets as one source of samples, each normalised by its own statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dream_vla_ros.training.augment import Augmentation
from dream_vla_ros.training.batches import BatchMaker
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.learners import ActionBatch
from dream_vla_ros.training.store import Samples, SampleStore


class Mixture:
    """Numbers the samples of all datasets through, and makes batches of them.

    :param stores: One per dataset.
    :param keys: Name of each dataset's statistics.
    :param maker: Of the model.
    """

    def __init__(
        self,
        stores: Sequence[SampleStore],
        keys: Sequence[str],
        maker: BatchMaker,
        augmentation: Augmentation,
    ) -> None:
        shapes = {store.folder: store.take([0]).images.shape[1:] for store in stores}
        if len(set(shapes.values())) > 1:
            raise TrainingError(f"datasets with different cameras cannot be mixed: {shapes}")
        self._stores, self._keys = stores, keys
        self._maker = maker
        self._augmentation = augmentation
        self._begins = np.cumsum([0, *map(len, stores)])

    def split(self, share: float, seed: int) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
        """Part each dataset's samples by episodes into those to train on and those to validate on.

        :param share: Of the episodes, to validate on: at least one of each dataset unless it is zero.
        :returns: Numbers of the samples to train on, and of those to validate on, by dataset.
        """
        training, validation = [], []
        for number, (store, begin) in enumerate(zip(self._stores, self._begins, strict=False)):
            episode = store.column("episode")
            known = np.unique(episode)
            count = min(max(round(share * len(known)), 1), len(known) - 1) if share else 0
            held = np.random.default_rng([seed, number]).permutation(known)[:count]
            kept = np.isin(episode, held)
            training.append(begin + np.flatnonzero(~kept))
            validation.append(begin + np.flatnonzero(kept))
        return training, validation

    def take(self, indices: NDArray[np.int64]) -> list[tuple[str, Samples]]:
        """Return samples by dataset, with the name of its statistics."""
        which = np.searchsorted(self._begins, indices, side="right") - 1
        return [
            (self._keys[number], self._stores[number].take(indices[which == number] - self._begins[number]))
            for number in np.unique(which)
        ]

    def __call__(
        self, indices: NDArray[np.int64], rng: np.random.Generator, *, training: bool = True
    ) -> ActionBatch:
        """Make one batch.

        :param rng: Source of all draws.
        :param training: False shows the images as inference does.
        """
        parts = self.take(indices)
        normalized = [self._maker.normalized(samples, key) for key, samples in parts]
        states = [state for _, state in normalized if state is not None]
        images = np.concatenate([samples.images for _, samples in parts])
        flat = images.reshape(-1, *images.shape[2:])
        shown = self._augmentation.random(flat, rng) if training else self._augmentation.center(flat)
        batch = self._maker.batch(
            [text for _, samples in parts for text in samples.instructions],
            np.concatenate([actions for actions, _ in normalized]),
            np.concatenate(states) if states else None,
            shown.reshape(images.shape),
        )
        return ActionBatch(batch, None, None, int(rng.integers(2**63 - 1)))
