"""How a training runs, apart from what it learns."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation, its schedule, and when to write things down.

    :param steps: Optimizer steps.
    :param batch_size: Samples per optimizer step, over all processes.
    :param accumulation: Parts that each process's share of a batch is computed in, to save memory.
    :param learning_rate: At its highest.
    :param warmup_steps: Steps over which the rate rises from zero.
    :param final_rate: Share of the highest rate that is left at the end; it falls as a cosine.
    :param constant_share: Share of the steps, after warm-up, at the highest rate before it falls.
    :param weight_decay: Of matrices; biases, norms and embeddings are not decayed.
    :param clip_norm: Largest norm of the gradient.
    :param ema_decay: Per step, of the averaged weights that are evaluated and kept; 0 keeps the last ones.
    :param bf16: Compute matrix products in bfloat16; weights and sums stay in float32.
    :param seed: Of every draw: order of samples, augmentation, noise, times, masks.
    :param log_every: Steps between lines of metrics.
    :param save_every: Steps between states to resume from.
    :param validate_every: Steps between validations; 0 for none.
    """

    steps: int
    batch_size: int = 64
    accumulation: int = 1
    learning_rate: float = 1e-4
    warmup_steps: int = 0
    final_rate: float = 0.0
    constant_share: float = 0.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    bf16: bool = False
    seed: int = 0
    log_every: int = 10
    save_every: int = 200
    validate_every: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, not at least 1")
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of accumulation {self.accumulation}"
            )
        for name in ("final_rate", "constant_share", "ema_decay"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}, not 0 to 1")
        if not self.learning_rate > 0.0 or not self.clip_norm > 0.0:
            raise ValueError("learning_rate and clip_norm must be positive")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        left = max(self.steps - self.warmup_steps, 1)
        done = (step - self.warmup_steps) / left
        falling = max(done - self.constant_share, 0.0) / max(1.0 - self.constant_share, 1e-9)
        share = 0.5 * (1.0 + math.cos(math.pi * min(falling, 1.0)))
        return self.learning_rate * (self.final_rate + (1.0 - self.final_rate) * share)
