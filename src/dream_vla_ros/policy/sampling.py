"""How a checkpoint is meant to be sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dream_vla_ros.policy.policy import PolicyError
from dream_vla_ros.policy.settings import ModelSettings

STEPS, SAMPLES = "inference_steps", "inference_samples"
"""Keys of a checkpoint's ``config.json``; published ones have neither."""


@dataclass(frozen=True)
class Sampling:
    """How actions are drawn.

    :param steps: Integration, denoising or unmasking steps; None is the objective's default.
    :param samples: Noises whose actions are averaged.
    """

    steps: int | None = None
    samples: int = 1

    @property
    def words(self) -> str:
        """Say it, for a log."""
        steps = "the usual steps" if self.steps is None else f"{self.steps} step{'s' * (self.steps != 1)}"
        return f"{steps} from {self.samples} noise{'s' * (self.samples != 1)}"


def sampling_of(config: Mapping[str, Any], source: str, settings: ModelSettings) -> Sampling:
    """Return how actions are drawn: as settings say, else as the checkpoint does.

    :param config: Contents of ``config.json``.
    :param source: Path of that file, for messages.
    :raises PolicyError: Naming file and key.
    """
    trained = {}
    for key, most in ((STEPS, 1000), (SAMPLES, 64)):
        value = config.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise PolicyError(f"{source}: {key} is {value!r}, not a whole number of 0 to {most}")
        trained[key] = value
    return Sampling(settings.steps or trained[STEPS] or None, settings.samples or trained[SAMPLES] or 1)
