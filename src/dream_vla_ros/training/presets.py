"""The paper's fine-tuning settings by benchmark."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """What the paper says of one benchmark's fine-tuning.

    :param chunk_size: Actions predicted at once.
    :param steps: Optimizer steps.
    :param batch_size: Samples per optimizer step, over all devices.
    :param learning_rate: Of AdamW.
    """

    chunk_size: int
    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-4


PRESETS = {
    "libero": Preset(chunk_size=8, steps=100_000),
    "bridge": Preset(chunk_size=5, steps=200_000),
    "fractal": Preset(chunk_size=5, steps=200_000),
}
