"""One goal while it is carried out, as the threads of the policy node share it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dream_vla_ros.nodes.outcome import Outcome, Progress

# A wait shorter than this, as for the next image, is no news to the client.
_WAIT_WORTH_TELLING_S = 0.3


@dataclass(frozen=True)
class GoalRequest:
    """What the client asked for.

    :param goal_id: 16 bytes.
    :param time_limit_s: Longest time it may take.
    :param accepted_ros_ns: When it was accepted, ROS time.
    :param accepted_steady_ns: The same on the steady clock.
    """

    goal_id: bytes
    instruction: str
    success_question: str
    time_limit_s: float
    accepted_ros_ns: int
    accepted_steady_ns: int


class GoalRun:
    """A goal from acceptance to its outcome; the first outcome given to it stays.

    :param request: What the client asked for.
    :param on_end: Called once, when the outcome is known, in the thread that knew it.
    """

    def __init__(self, request: GoalRequest, on_end: Callable[[GoalRun], None]) -> None:
        self.request = request
        self._on_end = on_end
        self._lock = threading.RLock()
        self._outcome: tuple[Outcome, str] | None = None
        self._ended_ns = 0
        self._chunks = 0
        self._latency_s = 0.0
        self._waiting: tuple[int, str] | None = None
        self.success_probability = math.nan

    @property
    def outcome(self) -> tuple[Outcome, str] | None:
        """How it ended and why; None while it runs."""
        with self._lock:
            return self._outcome

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.outcome is None

    @property
    def elapsed_s(self) -> float:
        """Time since acceptance, or from acceptance to the end."""
        with self._lock:
            now = self._ended_ns or time.monotonic_ns()
        return (now - self.request.accepted_steady_ns) * 1e-9

    @property
    def chunks(self) -> int:
        """Chunks published for it."""
        with self._lock:
            return self._chunks

    @property
    def latency_s(self) -> float:
        """Capture of the oldest image to publication, of the last chunk."""
        with self._lock:
            return self._latency_s

    def waited(self) -> tuple[float, str]:
        """Return how long it has been waiting for input [s] and for what; 0 and nothing if it is not."""
        with self._lock:
            if self._waiting is None:
                return 0.0, ""
            since, reason = self._waiting
            return (time.monotonic_ns() - since) * 1e-9, reason

    def progress(self) -> tuple[Progress, str]:
        """Return what is being done and what is being waited for."""
        waited_s, reason = self.waited()
        if waited_s > _WAIT_WORTH_TELLING_S:
            return Progress.WAITING_FOR_INPUT, reason
        return (Progress.EXECUTING if self.chunks else Progress.PREDICTING), ""

    def wait_for(self, reason: str) -> None:
        """Note that input is missing.

        :param reason: Which, in words.
        """
        with self._lock:
            since = self._waiting[0] if self._waiting is not None else time.monotonic_ns()
            self._waiting = (since, reason)

    def input_came(self) -> None:
        """Note that no input is missing any more."""
        with self._lock:
            self._waiting = None

    def publish(self, send: Callable[[], None], latency_s: float) -> bool:
        """Send a chunk unless the goal has ended; none is sent after :meth:`end` returned.

        :param send: Publishes the chunk.
        :returns: Whether it was sent.
        """
        with self._lock:
            if self._outcome is not None:
                return False
            send()
            self._chunks += 1
            self._latency_s = latency_s
            return True

    def end(self, outcome: Outcome, message: str = "") -> bool:
        """Give it an outcome.

        :returns: Whether it was the first.
        """
        with self._lock:
            if self._outcome is not None:
                return False
            self._outcome = (outcome, message)
            self._ended_ns = time.monotonic_ns()
        self._on_end(self)
        return True
