"""A path to follow, and a flow-matching model whose distribution around it is known."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np
import torch

from dream_vla_ros.geometry import Array
from dream_vla_ros.model import PreviousChunk
from dream_vla_ros.model.continuation import guided_velocity

# Errors of a chunk: a fifth of the nominal motion, alike over some three steps.
ERROR = 0.2
ERROR_STEPS = 3.0
WHITE = 1e-3
FLOW_STEPS = 5


class Loop:
    """A closed path in space at constant speed, with a turn to and fro about the vertical."""

    def __init__(self, centre: Array) -> None:
        phase = np.linspace(0.0, 2.0 * pi, 4001)
        self.points = centre + np.stack(
            [0.09 * np.cos(phase), 0.14 * np.sin(phase), 0.06 * np.sin(2.0 * phase)], axis=1
        )
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        self.at = np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def length(self) -> float:
        """Length of one round [m]."""
        return float(self.at[-1])

    def point(self, along: float) -> Array:
        """Return the place (3,) at a way along the path [m]."""
        wrapped = along % self.length
        return np.array([np.interp(wrapped, self.at, self.points[:, axis]) for axis in range(3)])

    def nearest(self, position: Array, near: float) -> tuple[float, float]:
        """Return the way along the path [m] nearest to a place, within 5 cm of a guess, and its distance."""
        ways = near + np.linspace(-0.05, 0.05, 201)
        places = np.stack(
            [np.interp(ways % self.length, self.at, self.points[:, axis]) for axis in range(3)], axis=1
        )
        distances = np.linalg.norm(places - position, axis=1)
        best = int(np.argmin(distances))
        return float(ways[best]), float(distances[best])


class GaussianFlow:
    """A flow-matching model of a Gaussian: mean from the scene, errors alike in neighbouring steps.

    :param nominal: Motion of a step, normalised, that errors are a share of.
    """

    def __init__(self, steps: int, nominal: float) -> None:
        index = np.arange(steps)
        distance = (index[:, None] - index[None]) / ERROR_STEPS
        covariance = (ERROR * nominal) ** 2 * (np.exp(-(distance**2) / 2.0) + WHITE * np.eye(steps))
        self._covariance = torch.tensor(covariance, dtype=torch.float32)
        self._identity = torch.eye(steps)
        # The gripper's number has next to no error.
        self._sure = torch.tensor([1e-6])

    def velocity(self, mean: torch.Tensor, time_: float) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the velocity field at a flow time: the expectation of action - noise, given the mixture."""
        left = 1.0 - time_
        spread = left**2 * self._identity + time_**2 * self._covariance
        gain = (time_ * self._covariance - left * self._identity) @ torch.linalg.inv(spread)

        def field(noisy: torch.Tensor) -> torch.Tensor:
            off = noisy - time_ * mean
            motion = mean[..., :6] + torch.einsum("ij,bjk->bik", gain, off[..., :6])
            gripper = mean[..., 6:] - off[..., 6:] / left
            return torch.cat([motion, gripper], dim=-1)

        return field

    def predict(self, mean: torch.Tensor, noise: torch.Tensor, previous: PreviousChunk | None) -> np.ndarray:
        """Go from noise to actions (steps, 7), normalised."""
        before = None if previous is None else previous.on("cpu", noise.shape[1])
        actions = noise
        for step in range(FLOW_STEPS):
            now = step / FLOW_STEPS
            field = self.velocity(mean, now)
            if before is not None and before.guidance_limit is not None:
                actions = actions + guided_velocity(field, actions, now, before) / FLOW_STEPS
                continue
            if before is not None:
                kept = (1.0 - now) * noise + now * before.target
                actions = torch.where(before.weights > 0, kept, actions)
            actions = actions + field(actions) / FLOW_STEPS
        if before is not None and before.guidance_limit is None:
            actions = torch.where(before.weights > 0, before.target, actions)
        return actions[0].numpy()
