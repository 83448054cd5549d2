"""The action chunk in SI units: what policy and controller exchange."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from dream_vla_ros.geometry import Array


class InvalidChunkError(ValueError):
    """An action chunk that must not be executed; the message names what is wrong with it."""


class Blending(str, Enum):
    """How a new chunk joins the one that is being executed."""

    LATEST = "latest"
    """It replaces what is left."""
    TEMPORAL_ENSEMBLE = "temporal_ensemble"
    """The controller averages all chunks that cover a moment (ACT)."""
    INPAINTING = "inpainting"
    """The policy predicts it around the actions that will be executed meanwhile."""
    REAL_TIME_CHUNKING = "real_time_chunking"
    """The policy draws it towards all that is left of the chunk before."""


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """A short sequence of achieved end-effector motions.

    :param translation: (steps, 3) m per period, in the base axes.
    :param rotation: (steps, 3) rotation vectors in rad per period, base axes, about the end-effector point.
    :param gripper: (steps,) absolute opening, 1 = open, 0 = closed.
    :param period_s: Time one step takes.
    :param stamp_ns: Capture time (ROS time) of the oldest image the chunk was computed from.
    :param goal_id: Goal the chunk belongs to: 16 bytes.
    :param chunk_id: Counts up per source.
    :raises InvalidChunkError: If shapes disagree, a number is not finite or the period is not positive.
    """

    translation: Array
    rotation: Array
    gripper: Array
    period_s: float
    stamp_ns: int
    goal_id: bytes
    chunk_id: int = 0

    def __post_init__(self) -> None:
        for name, trailing in (("translation", (3,)), ("rotation", (3,)), ("gripper", ())):
            values = np.array(getattr(self, name), dtype=np.float64)
            if values.ndim != 1 + len(trailing) or len(values) == 0 or values.shape[1:] != trailing:
                expected = "(steps, 3)" if trailing else "(steps,)"
                raise InvalidChunkError(
                    f"{name} has shape {values.shape}, not {expected} with at least one step"
                )
            if not np.all(np.isfinite(values)):
                step = int(np.argwhere(~np.isfinite(values))[0][0])
                raise InvalidChunkError(f"{name} of step {step} is not finite: {values[step]}")
            object.__setattr__(self, name, values)
        if not len(self.translation) == len(self.rotation) == len(self.gripper):
            raise InvalidChunkError(
                f"steps disagree: {len(self.translation)} translations, {len(self.rotation)} rotations, "
                f"{len(self.gripper)} gripper values"
            )
        if not (np.isfinite(self.period_s) and self.period_s > 0.0):
            raise InvalidChunkError(f"period is {self.period_s} s, not positive")
        if len(self.goal_id) != 16:
            raise InvalidChunkError(f"goal id has {len(self.goal_id)} bytes, not 16")

    def __len__(self) -> int:
        return len(self.translation)

    @property
    def duration_s(self) -> float:
        """Time the whole chunk takes to execute."""
        return len(self) * self.period_s
