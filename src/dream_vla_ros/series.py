"""Measurements over time, and what they were at other times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dream_vla_ros.geometry import Array, Pose

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
# Below this angle linear and spherical interpolation agree to double precision.
_SMALL_ANGLE_RAD = 1e-6


@dataclass(frozen=True, eq=False)
class Bracket:
    """Where times lie between samples.

    :param before: (times,) index of the sample at or before each.
    :param after: (times,) index of the sample at or after each.
    :param share: (times,) 0 at ``before`` to 1 at ``after``.
    :param valid: (times,) whether both exist and lie close enough together.
    """

    before: Int64
    after: Int64
    share: Array
    valid: Bool


def bracket(stamps_ns: Int64, times_ns: Int64, max_gap_ns: int) -> Bracket:
    """Find the samples around each time.

    :param stamps_ns: (samples,) strictly increasing.
    :param times_ns: (times,).
    :param max_gap_ns: Samples further apart than this have no values between them.
    """
    if len(stamps_ns) == 0:
        none = np.zeros(len(times_ns), dtype=np.int64)
        return Bracket(none, none, np.zeros(len(times_ns)), np.zeros(len(times_ns), dtype=bool))
    after = np.searchsorted(stamps_ns, times_ns, side="left").astype(np.int64)
    inside = after < len(stamps_ns)
    after = np.minimum(after, len(stamps_ns) - 1)
    exact = stamps_ns[after] == times_ns
    before = np.where(exact, after, after - 1)
    inside &= before >= 0
    before = np.maximum(before, 0)
    gap = stamps_ns[after] - stamps_ns[before]
    share = np.where(gap > 0, (times_ns - stamps_ns[before]) / np.maximum(gap, 1), 0.0)
    return Bracket(before, after, np.clip(share, 0.0, 1.0), inside & (gap <= max_gap_ns))


@dataclass(frozen=True, eq=False)
class Values:
    """Vectors over time.

    :param stamps_ns: (samples,) strictly increasing.
    :param values: (samples, numbers).
    """

    stamps_ns: Int64
    values: Array

    def at(self, times_ns: Int64, max_gap_ns: int) -> tuple[Array, Bool]:
        """Interpolate linearly.

        :returns: (times, numbers) and which of them are valid.
        """
        place = bracket(self.stamps_ns, times_ns, max_gap_ns)
        if len(self.stamps_ns) == 0:
            return np.zeros((len(times_ns), self.values.shape[1])), place.valid
        share = place.share[:, None]
        return (1.0 - share) * self.values[place.before] + share * self.values[place.after], place.valid

    def held(self, times_ns: Int64) -> tuple[Array, Bool]:
        """Take the newest value at or before each time, however old.

        :returns: (times, numbers) and which of them are valid.
        """
        newest = np.searchsorted(self.stamps_ns, times_ns, side="right") - 1
        if len(self.stamps_ns) == 0:
            return np.zeros((len(times_ns), self.values.shape[1])), newest >= 0
        return self.values[np.maximum(newest, 0)], newest >= 0


@dataclass(frozen=True, eq=False)
class Poses:
    """Poses over time.

    :param stamps_ns: (samples,) strictly increasing.
    :param positions: (samples, 3) m.
    :param quaternions: (samples, 4) x, y, z, w, length one.
    """

    stamps_ns: Int64
    positions: Array
    quaternions: Array

    def at(self, times_ns: Int64, max_gap_ns: int) -> tuple[Poses, Bool]:
        """Interpolate positions linearly and orientations along the shortest turn.

        :returns: Poses at the times, and which of them are valid.
        """
        place = bracket(self.stamps_ns, times_ns, max_gap_ns)
        if len(self.stamps_ns) == 0:
            blank = np.tile([0.0, 0.0, 0.0, 1.0], (len(times_ns), 1))
            return Poses(times_ns, np.zeros((len(times_ns), 3)), blank), place.valid
        share = place.share[:, None]
        positions = (1.0 - share) * self.positions[place.before] + share * self.positions[place.after]
        turned = slerp(self.quaternions[place.before], self.quaternions[place.after], place.share)
        return Poses(times_ns, positions, turned), place.valid

    def held(self, times_ns: Int64) -> tuple[Poses, Bool]:
        """Take the newest pose at or before each time, however old."""
        newest = np.searchsorted(self.stamps_ns, times_ns, side="right") - 1
        if len(self.stamps_ns) == 0:
            return self.at(times_ns, 0)
        place = np.maximum(newest, 0)
        return Poses(times_ns, self.positions[place], self.quaternions[place]), newest >= 0

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def __getitem__(self, index: int) -> Pose:
        return Pose(self.positions[index], self.quaternions[index])

    def part(self, which: slice | Int64 | Bool) -> Poses:
        """Return some of them."""
        return Poses(self.stamps_ns[which], self.positions[which], self.quaternions[which])


def slerp(start: Array, end: Array, share: Array) -> Array:
    """Interpolate between unit quaternions along the shorter way.

    :param start: (n, 4) x, y, z, w.
    :param end: (n, 4) x, y, z, w.
    :param share: (n,) 0 at start to 1 at end.
    :returns: (n, 4), length one.
    """
    cosine = np.sum(start * end, axis=1)
    end = np.where(cosine[:, None] < 0.0, -end, end)
    angle = np.arccos(np.clip(np.abs(cosine), 0.0, 1.0))
    sine = np.sin(angle)
    straight = sine < _SMALL_ANGLE_RAD
    safe = np.where(straight, 1.0, sine)
    first = np.where(straight, 1.0 - share, np.sin((1.0 - share) * angle) / safe)
    second = np.where(straight, share, np.sin(share * angle) / safe)
    mixed = first[:, None] * start + second[:, None] * end
    normed: Array = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return normed


def nearest(stamps_ns: Int64, times_ns: Int64) -> Int64:
    """Find the sample nearest to each time; the earlier one where two are equally near.

    :param stamps_ns: (samples,) increasing, at least one.
    """
    after = np.clip(np.searchsorted(stamps_ns, times_ns), 1, max(1, len(stamps_ns) - 1))
    before = after - 1
    after = np.minimum(after, len(stamps_ns) - 1)
    closer_after = stamps_ns[after] - times_ns < times_ns - stamps_ns[before]
    return np.where(closer_after, after, before).astype(np.int64)
