"""What a client remembers of a goal it sent, and how it notices that no outcome will come; needs no ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dream_vla_ros.nodes.outcome import Feedback, Result

WATCH_PERIOD_S = 0.1
# A policy whose heartbeat goes on but no longer names our goal, and that sends neither feedback nor a result,
# was restarted. Longer than the inference that may stand between a goal's end and its result.
FORGOTTEN_AFTER_S = 10.0
# The policy ends a goal at its time limit; one that has not done so this much later never will.
OVERDUE_AFTER_S = 10.0


@dataclass
class SentGoal:
    """One goal from sending to its end. Times are of the steady clock.

    :param goal_id: 16 bytes.
    :param time_limit_s: Time limit it was sent with; zero for the policy's default.
    :param accepted_at: When the policy took it.
    :param last_named_at: When the policy last showed that it knows the goal.
    :param handle: rclpy's goal handle, once accepted.
    :param news: Counts feedback and result as they come.
    """

    goal_id: bytes
    time_limit_s: float = 0.0
    accepted_at: float | None = None
    last_named_at: float = -math.inf
    handle: Any = None
    feedback: Feedback | None = None
    result: Result | None = None
    cancel_requested: bool = False
    news: int = 0


class PolicyWatch:
    """Judge on the steady clock whether a goal can still come to an outcome.

    :param lost_after_s: Silence of the policy after which a goal counts as lost.
    """

    def __init__(self, lost_after_s: float) -> None:
        self._lost_after_s = lost_after_s
        self._heartbeat_at = -math.inf
        self._ticked_at = math.inf
        self._watching_since = -math.inf

    def heartbeat(self, now: float) -> None:
        """Note that the policy was heard."""
        self._heartbeat_at = now

    def silent_s(self, now: float) -> float:
        """Return for how long the policy was not heard; infinite when it never was."""
        return now - self._heartbeat_at

    def tick(self, now: float) -> None:
        """Note that this process is running; call it every :data:`WATCH_PERIOD_S`.

        After a suspension (a closed laptop, Ctrl-Z) what the policy sent meanwhile has still to be read.
        """
        if now - self._ticked_at > 10.0 * WATCH_PERIOD_S:
            self._watching_since = now
        self._ticked_at = now

    def why_lost(self, goal: SentGoal, now: float) -> str:
        """Say why no outcome can be expected for an accepted goal.

        :returns: The reason in words; empty while the goal is in good hands.
        """
        if goal.accepted_at is None or goal.result is not None:
            return ""
        since = max(goal.accepted_at, self._watching_since)
        silent_s = now - max(self._heartbeat_at, since)
        if silent_s > self._lost_after_s:
            return (
                f"the policy died or hangs: no heartbeat for {silent_s:.1f} s; the controller holds the arm; "
                "restart the policy and send the goal again"
            )
        unnamed_s = now - max(goal.last_named_at, since)
        if unnamed_s > FORGOTTEN_AFTER_S:
            return (
                f"the policy has not known this goal for {unnamed_s:.1f} s: it was restarted, and goals do "
                "not survive that; send the goal again"
            )
        if goal.time_limit_s > 0.0 and now - since > goal.time_limit_s + OVERDUE_AFTER_S:
            return (
                f"the policy has not ended the goal {OVERDUE_AFTER_S:g} s after its time limit of "
                f"{goal.time_limit_s:g} s; press the emergency stop if the arm still moves"
            )
        return ""
