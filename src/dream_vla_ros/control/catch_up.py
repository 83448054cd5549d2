"""What the arm still lacks of the path that a new chunk describes, and how it is made up for.

A chunk of delta actions begins where the arm was commanded to be when its images were captured. By the time
it comes, the arm has gone on along the chunk before it. Skipping the new chunk's first steps therefore leaves
out the difference between the two; where that difference was the correction of a miss, much of it is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.control.easing import in_parts
from dream_vla_ros.control.ensemble import motion_between
from dream_vla_ros.geometry import (
    Array,
    quaternion_conjugate,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)

# Positions within a chunk that are whole numbers of steps but for rounding.
_ROUNDING = 1e-6


def lack(chunk: ActionChunk, skip_s: float, done: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the motion from where the arm is to where the chunk has it by now.

    :param skip_s: Action time of the chunk that has passed.
    :param done: Motion since the chunk's capture: translation (3,) m and quaternion (4,), x, y, z, w, in the
        axes of the chunk.
    :returns: (3,) m and (3,) rad in the same axes.
    """
    described = motion_between(chunk, 0.0, skip_s)
    if described is None:
        return np.zeros(3), np.zeros(3)
    turn = quaternion_multiply(quaternion_from_rotation_vector(described[1]), quaternion_conjugate(done[1]))
    return described[0] - done[0], rotation_vector_from_quaternion(turn)


def made_up(
    chunk: ActionChunk,
    begin_s: float,
    missing: tuple[Array, Array],
    over_s: float,
    share_at: Callable[[Array], Array] = np.ones_like,
) -> ActionChunk:
    """Return the chunk with a motion added to a stretch of it, setting in and ending gently.

    :param begin_s: Action time at which the stretch begins.
    :param missing: (3,) m and (3,) rad in the axes of the chunk.
    :param over_s: Duration of the stretch; as much as is left if the chunk is shorter.
    :param share_at: Which share of the chunk will be executed at times since ``begin_s`` [s]; so much more is
        added.
    """
    if not (missing[0].any() or missing[1].any()):
        return chunk
    fine = in_parts(chunk)
    first = int(np.ceil(begin_s / fine.period_s - _ROUNDING))
    count = min(max(round(over_s / fine.period_s), 1), len(fine) - first)
    if count < 1:
        return chunk
    parts = np.arange(count, dtype=np.float64) + 0.5
    shares = np.sin(np.pi * parts / count) ** 2
    shares /= shares @ share_at(parts * fine.period_s)
    translation, rotation = fine.translation.copy(), fine.rotation.copy()
    translation[first : first + count] += shares[:, None] * missing[0]
    rotation[first : first + count] += shares[:, None] * missing[1]
    return replace(fine, translation=translation, rotation=rotation)
