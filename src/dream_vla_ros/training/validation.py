"""How far predicted actions are from those of episodes that were held back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dream_vla_ros.model.dream_vla import DreamVLAForActionPrediction
from dream_vla_ros.training.mixture import Mixture

DIMENSIONS = ("x", "y", "z", "rotation_1", "rotation_2", "rotation_3", "gripper")


class ActionError:
    """Predicts for the same samples each time, from the same noise, as at inference.

    :param model: In training; put into evaluation by the caller.
    :param samples: Numbers of samples that are never trained on, by dataset.
    :param most: Samples to look at, spread evenly over them.
    :param seed: Of the noise.
    """

    def __init__(
        self,
        model: DreamVLAForActionPrediction,
        mixture: Mixture,
        samples: Sequence[NDArray[np.int64]],
        *,
        most: int = 64,
        seed: int = 0,
    ) -> None:
        everything = np.concatenate(samples)
        at = np.linspace(0, len(everything) - 1, min(most, len(everything))).round().astype(int)
        self._model = model
        self._mixture = mixture
        self._samples = everything[np.unique(at)]
        self._seed = seed

    def __call__(self) -> dict[str, float]:
        """Return the mean absolute error of normalised actions, in all and of each number of an action."""
        errors = []
        generator = torch.Generator()
        for index in self._samples:
            batch = self._mixture(np.array([index]), np.random.default_rng(0), training=False).batch
            generator.manual_seed(self._seed)
            length = int((batch.labels[0] != batch.input_ids[0]).sum())  # the prompt alone is no label
            predicted = self._model.predict_actions(
                input_ids=batch.input_ids[:, :length],
                pixel_values=batch.pixel_values,
                image_grid_thw=batch.image_grid_thw,
                proprio=batch.proprio,
                generator=generator,
            )
            errors.append(np.abs(predicted - batch.actions[0].numpy()).mean(axis=0))
        mean = np.mean(errors, axis=0)
        named = {f"error_{name}": float(value) for name, value in zip(DIMENSIONS, mean, strict=True)}
        return {"action_error": float(mean.mean()), **named}
