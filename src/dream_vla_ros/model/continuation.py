"""Predictions that go on from the chunk before, so that motion does not jump where chunks meet.

Two ways, both without training. *Inpainting* keeps the actions that will be executed while the model computes
as they were and denoises the rest around them. *Real-time chunking* (Black, Galliker and Levine 2025, arXiv
2506.07339) draws every action that both chunks cover towards the older chunk, less and less the later it is,
by the gradient of the denoised estimate with respect to the noisy actions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .errors import ModelInputError
from .objective import Objective

Velocity = Callable[[Tensor], Tensor]
"""Noisy actions (1, chunk, dim) -> velocity of the same shape."""

PUBLISHED_GUIDANCE_LIMIT = 5.0  # beta of the paper's real-robot runs with five steps


@dataclass(frozen=True, eq=False)
class PreviousChunk:
    """What is left of the chunk before, counted from the moment of the new observation.

    :param actions: (rows, dim) normalised; row i stands where the new chunk's action i will. At most as many
        rows as a chunk has, and fewer when the older chunk ends earlier.
    :param frozen: Leading rows that will be executed before the new chunk is there.
    :param guidance_limit: Largest weight of the guidance towards all rows (real-time chunking); None freezes
        the leading rows and leaves the others free (inpainting).
    :raises ModelInputError: If a number does not fit.
    """

    actions: npt.NDArray[np.float32]
    frozen: int
    guidance_limit: float | None = None

    def __post_init__(self) -> None:
        actions = np.asarray(self.actions, dtype=np.float32)
        object.__setattr__(self, "actions", actions)
        if actions.ndim != 2 or not len(actions):
            raise ModelInputError(f"previous actions have shape {actions.shape}, not (rows, dim)")
        if not np.isfinite(actions).all():
            raise ModelInputError("previous actions hold numbers that are not finite")
        if not 0 <= self.frozen <= len(actions):
            raise ModelInputError(f"{self.frozen} of {len(actions)} previous actions cannot be frozen")
        if self.guidance_limit is not None and not 0.0 < self.guidance_limit < math.inf:
            raise ModelInputError(f"guidance_limit must be positive, not {self.guidance_limit!r}")

    def check_fits(self, objective: Objective, chunk: int, dim: int) -> None:
        """Refuse what cannot be continued.

        :raises ModelInputError: Naming the objectives that can.
        """
        if self.actions.shape[1] != dim or len(self.actions) > chunk:
            raise ModelInputError(
                f"previous actions have shape {self.actions.shape}, but this model's chunk is {(chunk, dim)}"
            )
        guided = self.guidance_limit is not None
        able = GUIDED if guided else INPAINTED
        if objective not in able:
            raise ModelInputError(
                f"{'real-time chunking' if guided else 'inpainting'} works with "
                f"{', '.join(one.value for one in able)}; {objective.value} predicts a chunk in one pass "
                f"or without a velocity, so use another blending"
            )

    def on(self, device: torch.device | str, chunk: int) -> Continuation:
        """Return the same as tensors on a device, for a chunk of that many actions."""
        rows, dim = self.actions.shape
        target = np.zeros((1, chunk, dim), dtype=np.float32)
        target[0, :rows] = self.actions
        if self.guidance_limit is None:
            weights = (np.arange(chunk) < self.frozen).astype(np.float32)
        else:
            weights = soft_mask(self.frozen, rows, chunk)
        return Continuation(
            torch.from_numpy(target).to(device),
            torch.from_numpy(weights)[None, :, None].to(device),
            self.guidance_limit,
        )


@dataclass(frozen=True, eq=False)
class Continuation:
    """A chunk before, as the denoising loop takes it: shapes do not depend on what is left of it.

    :param target: (1, chunk, dim) normalised actions; what stands behind the last known one does not matter.
    :param weights: (1, chunk, 1), how much each is kept, 0 to 1.
    :param guidance_limit: as of `PreviousChunk`.
    """

    target: Tensor
    weights: Tensor
    guidance_limit: float | None


INPAINTED = (Objective.FLOW_MATCHING, Objective.DIFFUSION, Objective.DISCRETE_DIFFUSION)
"""Objectives that can keep leading actions as they were."""
GUIDED = (Objective.FLOW_MATCHING,)
"""Objectives that can be guided: those that predict a velocity."""


def soft_mask(frozen: int, rows: int, chunk: int) -> npt.NDArray[np.float32]:
    """Return how much each action of the new chunk is drawn to the chunk before (equation 5 of the paper).

    :param frozen: Leading actions that are certain to be executed as they were: weight 1.
    :param rows: Actions that the chunk before covers; later ones have weight 0.
    :param chunk: Actions of the new chunk.
    :returns: (chunk,).
    """
    weights = np.zeros(chunk, dtype=np.float32)
    weights[:frozen] = 1.0
    share = (rows - np.arange(frozen, rows)) / (rows - frozen + 1)
    weights[frozen:rows] = share * np.expm1(share) / math.expm1(1.0)
    return weights


def guidance_weight(time: float, limit: float) -> float:
    """Return how strongly a step is corrected (equations 2 and 4 of the paper).

    :param time: Flow time, 0 = noise, below 1.
    :param limit: Largest value; at time 0 there is no other bound.
    """
    left = 1.0 - time
    if time <= 0.0:
        return limit
    return min(limit, (time * time + left * left) / (time * left))


def guided_velocity(velocity: Velocity, actions: Tensor, time: float, before: Continuation) -> Tensor:
    """Return the velocity, corrected towards the chunk before (equation 1 of the paper).

    :param velocity: The model at this time; gradients must flow through it.
    :param actions: (1, chunk, dim) noisy actions, float32.
    """
    assert before.guidance_limit is not None
    with torch.enable_grad():
        noisy = actions.detach().requires_grad_(True)
        flow = velocity(noisy)
        estimate = noisy + (1.0 - time) * flow
        error = (before.target - estimate.detach()) * before.weights
        (correction,) = torch.autograd.grad(estimate, noisy, grad_outputs=error)
    return flow.detach() + guidance_weight(time, before.guidance_limit) * correction


@contextmanager
def without_weight_gradients(model: nn.Module) -> Iterator[None]:
    """Let gradients flow to the inputs only, which keeps no activations for the weights' sake."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
