"""Chunks in finer steps, in which velocity changes gradually from one step of the policy to the next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.geometry import Array

# A step is cut into parts of about this length [s]: a control period at 50 Hz.
_PART_S = 0.02
# Parts of one step: enough for a policy at 1 Hz, and a bound on the work that a chunk makes.
_MOST_PARTS = 50
# Lengths that are whole numbers of parts but for rounding.
_ROUNDING = 1e-9


def eased(chunk: ActionChunk, width_s: float, begin_s: float = 0.0) -> ActionChunk:
    """Return the chunk with its velocity averaged over a stretch of time around each moment.

    Within a step velocity is constant, so at the end of each it jumps. Averaged, it changes over ``width_s``
    around that end. Nothing is averaged with what lies beyond the chunk's end or before ``begin_s``, so the
    whole motion from there on stays what it was; in the middle of each step so does the motion up to there
    (that of rotations about different axes but for their order within ``width_s``). The gripper keeps its
    steps.

    :param width_s: At most a step is averaged over; next to nothing leaves the chunk alone.
    :param begin_s: Action time from which on the chunk will be executed.
    """
    parts = _parts(chunk)
    part_s = chunk.period_s / parts
    # An odd number of parts lies evenly around its middle.
    averaged = int((min(width_s, chunk.period_s) / part_s + _ROUNDING + 1.0) / 2.0) * 2 - 1
    if averaged < 3:
        return chunk
    first = min(int(begin_s / part_s + _ROUNDING), parts * len(chunk) - 1)
    fine = in_parts(chunk)
    return replace(
        fine,
        translation=_averaged(fine.translation, averaged, first),
        rotation=_averaged(fine.rotation, averaged, first),
    )


def in_parts(chunk: ActionChunk) -> ActionChunk:
    """Return the chunk with each step cut into parts of about a control period."""
    parts = _parts(chunk)
    return replace(
        chunk,
        translation=np.repeat(chunk.translation / parts, parts, axis=0),
        rotation=np.repeat(chunk.rotation / parts, parts, axis=0),
        gripper=np.repeat(chunk.gripper, parts),
        period_s=chunk.period_s / parts,
    )


def _parts(chunk: ActionChunk) -> int:
    return max(min(_MOST_PARTS, round(chunk.period_s / _PART_S)), 1)


def _averaged(motion: Array, count: int, first: int) -> Array:
    # Mirrored at the ends, what an average leaves out there it takes in again.
    padded = np.pad(motion[first:], ((count // 2, count // 2), (0, 0)), mode="symmetric")
    weights = np.full(count, 1.0 / count)
    rest = [np.convolve(column, weights, mode="valid") for column in padded.T]
    return np.concatenate([motion[:first], np.stack(rest, axis=1)])
