"""Whether the capture stamps of a bag's topics can be trusted, and put on one clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dream_vla_ros.data.bag import TopicIndex
from dream_vla_ros.data.errors import DataError

Int64 = npt.NDArray[np.int64]
# Drivers that need longer than this from capture to publication are taken for such with a wrong clock.
LATEST_S = 2.0
# A few odd stamps are left out; more than this share means the clock was set while recording.
_ODD_SHARE = 0.05
_NS = 1e-9


class ClockError(DataError):
    """Stamps that cannot be used; the message names the topic and what to do."""


@dataclass(frozen=True, eq=False)
class Stamps:
    """Usable capture times of one topic.

    :param numbers: (n,) numbers of the messages in the topic's index.
    :param stamps_ns: (n,) their times, strictly increasing.
    :param notes: What was left out and why.
    """

    topic: str
    numbers: Int64
    stamps_ns: Int64
    lag_s: float
    notes: tuple[str, ...] = ()


def usable_stamps(index: TopicIndex, offset_s: float = 0.0) -> Stamps:
    """Sort a topic by capture stamp and leave out what cannot be placed in time.

    :param offset_s: Added to every stamp.
    :raises ClockError: If the driver sends no stamps, or the clock was set while recording.
    """
    name = index.topic.name
    stamped = index.stamp_ns > 0
    notes = []
    if not stamped.any():
        raise ClockError(
            f"{name}: no message has a capture stamp; its driver must fill header.stamp, since the time of "
            "arrival says nothing about when an image was taken"
        )
    if unstamped := int(np.sum(~stamped)):
        notes.append(f"{name}: {unstamped} messages without a stamp left out")
    numbers = np.flatnonzero(stamped)
    stamps = index.stamp_ns[numbers] + round(offset_s * 1e9)
    lags = (index.log_ns[numbers] - stamps) * _NS
    typical = float(np.median(lags))
    odd = np.abs(lags - typical) > LATEST_S
    if np.mean(odd) > _ODD_SHARE:
        first = int(np.flatnonzero(odd)[0])
        raise ClockError(
            f"{name}: its clock was set while recording: message {int(numbers[first])} is stamped "
            f"{lags[first]:+.1f} s from its arrival, others {typical:+.1f} s; cut the bag there"
        )
    if odd.any():
        notes.append(
            f"{name}: {int(odd.sum())} messages left out whose stamps are off by more than {LATEST_S} s"
        )
        numbers, stamps = numbers[~odd], stamps[~odd]
    backwards = int(np.sum(np.diff(stamps) < 0))
    if backwards:
        notes.append(f"{name}: {backwards} messages arrived out of order and were sorted by stamp")
    order = np.argsort(stamps, kind="stable")
    numbers, stamps = numbers[order], stamps[order]
    fresh = np.concatenate([[True], np.diff(stamps) > 0])
    if repeated := int(np.sum(~fresh)):
        notes.append(f"{name}: {repeated} messages repeat an earlier stamp and were left out")
    return Stamps(name, numbers[fresh], stamps[fresh], typical, tuple(notes))


def check_common_clock(streams: list[Stamps], tolerance_s: float) -> None:
    """Check that all topics were stamped by clocks that agree.

    A message cannot arrive before it was captured, and hardly later than :data:`LATEST_S`; a bag as a whole
    may be off, as one recorded from a playback is.

    :param tolerance_s: How far a stamp may lie in the future.
    :raises ClockError: Naming the topic, its offset and how to correct it.
    """
    if not streams:
        return
    lags = {stream.topic: stream.lag_s for stream in streams}
    # A bag that was played and recorded again is late as a whole; what is common to all does no harm.
    common = float(np.median(list(lags.values())))
    for name, lag in lags.items():
        ahead = lag < -tolerance_s and max(lags.values()) >= 0.0
        if abs(lag - common) > LATEST_S or ahead:
            direction = "ahead of" if lag < common else "behind"
            raise ClockError(
                f"{name}: its clock is {abs(lag - common):.2f} s {direction} the other topics' (stamp to "
                f"arrival {lag:+.2f} s, typically {common:+.2f} s); synchronise the clocks, or correct this "
                f"recording with --clock-offset {name}={lag - common:.3f}"
            )
