"""What the controller really executed, as it reports it: the ground for joining chunks."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from dream_vla_ros.policy.overlap import Overlap

# Reports come ten times a second and at every change, so this many reach back further than any chunk.
_REMEMBERED = 256
# The largest of this many delays is expected of the next chunk.
_DELAYS = 5
# Longer after the last report nothing is known of what is executed [s].
_NEWEST_NS = 500_000_000


@dataclass(frozen=True)
class Report:
    """What the controller said at one moment.

    :param stamp_ns: ROS time.
    :param executed_s: Action time executed since the goal began.
    :param chunk_id: Chunk being executed; 0 if none.
    """

    stamp_ns: int
    executed_s: float
    chunk_id: int


class Consumption:
    """Follows the execution of one goal's chunks. Threads may share it.

    The delay of a chunk is the action time that was executed between the capture of its images and the moment
    it took over. A goal's first chunk has none, for the arm stood; its latency may stand in until a delay was
    measured.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._delays: deque[float] = deque(maxlen=_DELAYS)
        self._reports: deque[Report] = deque(maxlen=_REMEMBERED)
        self._published: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._first_latency_s = 0.0
        self._awaited = False

    def begin(self) -> None:
        """Begin with a new goal: nothing of the one before is continued. Delays stay known."""
        with self._lock:
            self._reports.clear()
            self._published.clear()
            self._awaited = False

    def publish(self, chunk_id: int, stamp_ns: int, latency_s: float) -> None:
        """Note a chunk that was published.

        :param stamp_ns: Capture of its oldest image, ROS time.
        :param latency_s: Capture to publication.
        """
        with self._lock:
            if not self._published:
                self._first_latency_s = latency_s
            self._published.append((chunk_id, stamp_ns))
            self._awaited = True

    def hear(self, report: Report) -> None:
        """Take a report of the controller on this goal in."""
        with self._lock:
            if self._reports and report.stamp_ns < self._reports[-1].stamp_ns:
                return
            self._reports.append(report)
            if not self._awaited or not self._published:
                return
            chunk_id, stamp_ns = self._published[-1]
            if report.chunk_id != chunk_id:
                return
            self._awaited = False
            if len(self._published) > 1:
                self._delays.append(max(0.0, report.executed_s - self._executed_at(stamp_ns)))

    @property
    def delay_s(self) -> float | None:
        """Action time that the next chunk will find executed; None before anything is known."""
        with self._lock:
            return self._expected()

    def overlap(self, stamp_ns: int) -> Overlap | None:
        """Say how a prediction from an observation lies on the chunk before.

        :param stamp_ns: Capture of the observation's oldest image, ROS time.
        :returns: None unless the newest chunk that was published is being executed.
        """
        with self._lock:
            if not self._published or not self._reports:
                return None
            newest, (chunk_id, before_ns) = self._reports[-1], self._published[-1]
            delay_s = self._expected()
            if newest.chunk_id != chunk_id or delay_s is None or stamp_ns - newest.stamp_ns > _NEWEST_NS:
                return None
            elapsed_s = self._executed_at(stamp_ns) - self._executed_at(before_ns)
            return Overlap(max(0.0, elapsed_s), delay_s)

    def _expected(self) -> float | None:
        if self._delays:
            return max(self._delays)
        return self._first_latency_s if self._published else None

    def _executed_at(self, stamp_ns: int) -> float:
        """Return what was executed by a moment, between and beyond reports at the pace around them."""
        before: Report | None = None
        for report in self._reports:
            if report.stamp_ns >= stamp_ns:
                if before is None:
                    return report.executed_s
                share = (stamp_ns - before.stamp_ns) / max(1, report.stamp_ns - before.stamp_ns)
                return before.executed_s + share * (report.executed_s - before.executed_s)
            before = report
        assert before is not None
        going_on = before.chunk_id != 0
        return before.executed_s + ((stamp_ns - before.stamp_ns) * 1e-9 if going_on else 0.0)
