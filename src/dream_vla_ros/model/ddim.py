"""DDIM sampling over a squared-cosine noise schedule."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .errors import ModelInputError

MAX_BETA = 0.999  # keeps the last step of the cosine schedule invertible
COSINE_OFFSET = 0.008  # keeps the first steps from having almost no noise


class DdimSchedule:
    """How much signal and noise a sample holds at each training step, and the way back."""

    def __init__(self, train_steps: int = 50) -> None:
        self.train_steps = train_steps

        def signal(fraction: float) -> float:
            return math.cos((fraction + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2

        betas = [
            min(1 - signal((i + 1) / train_steps) / signal(i / train_steps), MAX_BETA)
            for i in range(train_steps)
        ]
        self.signal_power = torch.cumprod(1 - torch.tensor(betas, device="cpu"), dim=0)
        self._powers: list[float] = self.signal_power.tolist()

    def timesteps(self, steps: int) -> list[int]:
        """Return the training steps to visit, noisiest first.

        :raises ModelInputError: if there are more steps than were trained.
        """
        if not 1 <= steps <= self.train_steps:
            raise ModelInputError(f"steps must be 1 to {self.train_steps} for diffusion, not {steps}")
        stride = self.train_steps // steps
        return [i * stride for i in reversed(range(steps))]

    def add_noise(self, actions: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Blend actions (batch, chunk, dim) with noise as training step `timestep` (batch,) has them."""
        power = self.signal_power.to(actions.device)[timestep][:, None, None]
        return power.sqrt() * actions + (1 - power).sqrt() * noise

    def noisy(self, actions: Tensor, noise: Tensor, timestep: int) -> Tensor:
        """Blend actions with noise as one training step has them, its power known on the host."""
        power = self._powers[timestep]
        return math.sqrt(power) * actions + math.sqrt(1 - power) * noise

    def step(self, x: Tensor, noise: Tensor, timestep: int, steps: int) -> Tensor:
        """Go one of `steps` steps towards the clean sample, given the predicted noise.

        The clean sample is clipped to [-1, 1], the range of normalised actions.
        """
        previous = timestep - self.train_steps // steps
        power = self._powers[timestep]
        previous_power = self._powers[previous] if previous >= 0 else 1.0
        clean = ((x - math.sqrt(1 - power) * noise) / math.sqrt(power)).clamp(-1, 1)
        return math.sqrt(previous_power) * clean + math.sqrt(1 - previous_power) * noise
