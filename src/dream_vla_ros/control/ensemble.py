"""Temporal ensembling (ACT): every action is a weighted mean of what all chunks that cover it say."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.geometry import (
    Array,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)

# Chunks overlap by what fits into one; with more of them in memory the oldest weigh next to nothing new.
_REMEMBERED = 16
# Averaging a step takes half a millisecond where all of them have a say, and the controller waits for it.
_AVERAGED = 32
# Sums of control periods miss a step's end by rounding; less than this is no time [s].
_NO_TIME_S = 1e-6
# The mean rotation is found to this [rad] in two or three iterations, for the rotations of one step are near.
_MEAN_FOUND = 1e-10
_MOST_ITERATIONS = 20


class Ensemble:
    """Keeps the chunks of one goal as they came, and averages a new one with them.

    Chunk i, counted from the oldest that covers an action, weighs exp(-decay * i) (Zhao et al. 2023), so with
    a positive decay older predictions weigh more. The gripper is never averaged: it is the newest chunk's. So
    are steps more than 32 ahead of what was executed, before which another chunk comes.

    :param decay: m of the paper; 0 weighs all alike.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._chunks: deque[ActionChunk] = deque(maxlen=_REMEMBERED)

    def clear(self) -> None:
        """Forget every chunk: motion was interrupted, or another goal begins."""
        self._chunks.clear()

    def blend(
        self, chunk: ActionChunk, executed_since: Callable[[int], float], not_before_ns: int
    ) -> ActionChunk:
        """Return a new chunk averaged with those before.

        :param executed_since: Action time [s] executed since a capture stamp [ns].
        :param not_before_ns: Capture before which a chunk is too old to have a say, ROS time.
        """
        while self._chunks and self._chunks[0].stamp_ns < not_before_ns:
            self._chunks.popleft()
        skip_s = executed_since(chunk.stamp_ns)
        offsets = [(old, executed_since(old.stamp_ns) - skip_s) for old in self._chunks]
        self._chunks.append(chunk)
        # An older chunk that begins after the new one, which happens when clocks were set, says nothing.
        others = [(old, offset) for old, offset in offsets if offset >= 0.0]
        if not others:
            return chunk
        translation, rotation = chunk.translation.copy(), chunk.rotation.copy()
        for step in range(min(len(chunk), int(skip_s / chunk.period_s) + _AVERAGED)):
            begin_s = step * chunk.period_s
            opinions = [
                stretch
                for old, offset in others
                if (stretch := motion_between(old, offset + begin_s, chunk.period_s)) is not None
            ]
            if not opinions:
                continue
            opinions.append((chunk.translation[step], chunk.rotation[step]))
            weights = np.exp(-self._decay * np.arange(len(opinions)))
            weights /= weights.sum()
            translation[step] = weights @ np.array([moved for moved, _ in opinions])
            rotation[step] = mean_rotation([turned for _, turned in opinions], weights)
        return ActionChunk(
            translation,
            rotation,
            chunk.gripper,
            chunk.period_s,
            chunk.stamp_ns,
            chunk.goal_id,
            chunk.chunk_id,
        )


def motion_between(chunk: ActionChunk, begin_s: float, duration_s: float) -> tuple[Array, Array] | None:
    """Return the motion of a stretch of a chunk: (3,) m and (3,) rad; None where the chunk ends before.

    :param begin_s: Action time from the chunk's beginning.
    """
    end_s = begin_s + duration_s
    if end_s > chunk.duration_s + _NO_TIME_S:
        return None
    period_s = chunk.period_s
    translation = np.zeros(3)
    quaternion = np.array([0.0, 0.0, 0.0, 1.0])
    first = int((begin_s + _NO_TIME_S) / period_s)
    for step in range(first, len(chunk)):
        share = (min(end_s, (step + 1) * period_s) - max(begin_s, step * period_s)) / period_s
        if share <= 0.0:
            break
        translation = translation + chunk.translation[step] * share
        quaternion = quaternion_multiply(
            quaternion_from_rotation_vector(chunk.rotation[step] * share), quaternion
        )
    return translation, rotation_vector_from_quaternion(quaternion)


def mean_rotation(vectors: Sequence[Array], weights: Array) -> Array:
    """Return the rotation from which the weighted rotations to all others cancel out (Karcher mean).

    :param vectors: Rotation vectors (3,) rad, each below half a turn from the mean.
    :param weights: (rotations,), adding up to 1.
    :returns: (3,) rad.
    """
    quaternions = [quaternion_from_rotation_vector(vector) for vector in vectors]
    mean = quaternions[int(np.argmax(weights))]
    for _ in range(_MOST_ITERATIONS):
        inverse = mean * np.array([-1.0, -1.0, -1.0, 1.0])
        step = np.zeros(3)
        for weight, quaternion in zip(weights, quaternions, strict=True):
            step = step + weight * rotation_vector_from_quaternion(quaternion_multiply(quaternion, inverse))
        mean = quaternion_multiply(quaternion_from_rotation_vector(step), mean)
        if np.linalg.norm(step) < _MEAN_FOUND:
            break
    return rotation_vector_from_quaternion(mean)
