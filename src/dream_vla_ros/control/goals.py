"""Which goal may move the arm, from the policy's heartbeat."""

from __future__ import annotations

from collections import OrderedDict

from dream_vla_ros.control.command import NO_GOAL

# Goals that ended; a heartbeat of one can only be late or come from a policy that lives in the past. More
# than any queue holds.
_REMEMBERED = 256


class GoalKeeper:
    """The active goal. A goal that was dropped, for whatever reason, never comes back."""

    def __init__(self) -> None:
        self._dropped: OrderedDict[bytes, None] = OrderedDict()
        self._heard_ns: int | None = None
        self.goal_id: bytes | None = None

    def heartbeat(self, active: bool, goal_id: bytes, steady_ns: int) -> bool:
        """Take a heartbeat in.

        :param steady_ns: When it arrived, steady clock.
        :returns: Whether the active goal changed: began, ended or was replaced.
        """
        if not active or goal_id == NO_GOAL:
            self._heard_ns = steady_ns
            return self.drop() is not None
        if goal_id == self.goal_id:
            self._heard_ns = steady_ns
            return False
        if goal_id in self._dropped:
            return False
        self._heard_ns = steady_ns
        self.drop()
        self.goal_id = goal_id
        return True

    def refuse(self, goal_id: bytes) -> None:
        """Never let a goal become active."""
        self._dropped[goal_id] = None
        while len(self._dropped) > _REMEMBERED:
            self._dropped.popitem(last=False)

    def has_ended(self, goal_id: bytes) -> bool:
        """Say whether a goal was active or refused before."""
        return goal_id in self._dropped

    def drop(self) -> bytes | None:
        """End the active goal and return its id; None if there was none."""
        ended = self.goal_id
        if ended is not None:
            self.refuse(ended)
        self.goal_id = None
        return ended

    def silence_s(self, steady_ns: int) -> float:
        """Return how long the policy has been silent; infinity before its first heartbeat."""
        return float("inf") if self._heard_ns is None else (steady_ns - self._heard_ns) * 1e-9
