"""One task while it is planned or carried out, as the threads of the planner node share it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dream_vla_ros.nodes.planner.parameters import Mode
from dream_vla_ros.planning.outcomes import TaskCode, TaskInterrupted


@dataclass(frozen=True)
class TaskRequest:
    """What a client asked for.

    :param task: The goal in words; may be empty.
    :param predicates: The goal in predicates; may be empty.
    :param domain: Empty for the node's default.
    :param mode: None for the node's default.
    :param max_steps: 0 for the node's default.
    :param time_limit_s: Of one instruction; 0 for the node's default.
    """

    task: str
    predicates: tuple[str, ...]
    domain: str
    mode: Mode | None
    max_steps: int = 0
    time_limit_s: float = 0.0

    @property
    def words(self) -> str:
        """The goal as a person reads it."""
        return self.task.strip() or " ".join(self.predicates) or "(nothing)"


class TaskRun:
    """A task from acceptance to its end; the first interruption given to it stays.

    :param request: What the client asked for.
    """

    def __init__(self, request: TaskRequest) -> None:
        self.request = request
        self.interrupted = threading.Event()
        """Set when the task has to end."""
        self.waiting_for = ""
        """What is missing, while it waits for images."""
        self._began_s = time.monotonic()
        self._ended_s: float | None = None
        self._lock = threading.Lock()
        self._reason: tuple[TaskCode, str] | None = None

    @property
    def elapsed_s(self) -> float:
        """Time since acceptance, or from acceptance to the end."""
        return (self._ended_s or time.monotonic()) - self._began_s

    @property
    def canceled(self) -> bool:
        """Whether the client ended it."""
        with self._lock:
            return self._reason is not None and self._reason[0] is TaskCode.CANCELED

    def interrupt(self, code: TaskCode, message: str) -> None:
        """Tell it to end.

        :param message: Why, in words.
        """
        with self._lock:
            if self._reason is None:
                self._reason = (code, message)
        self.interrupted.set()

    def check(self) -> None:
        """Go on, unless it has to end.

        :raises TaskInterrupted: If it has to.
        """
        with self._lock:
            reason = self._reason
        if reason is not None:
            raise TaskInterrupted(*reason)

    def end(self) -> None:
        """Stop counting its time."""
        self._ended_s = time.monotonic()


class Thinking:
    """Lets one thread at a time use the model and the planning library.

    A task holds it for as long as it lasts, except while it waits for the arm or for images; questions are
    answered then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def begin(self, timeout_s: float = -1.0) -> bool:
        """Wait for the turn.

        :param timeout_s: Longest time to wait; negative waits as long as it takes.
        :returns: Whether it came.
        """
        return self._lock.acquire(timeout=timeout_s)

    def end(self) -> None:
        """Give the turn to others."""
        self._lock.release()

    def aside(self, wait: Callable[[], None]) -> None:
        """Wait for something without keeping others from thinking.

        :param wait: Waits.
        """
        self.end()
        try:
            wait()
        finally:
            self.begin()
