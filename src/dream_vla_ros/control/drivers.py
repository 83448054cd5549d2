"""Who may move the arm: the policy with its goal, or a human who has taken over from it."""

from __future__ import annotations

from dream_vla_ros.control.goals import GoalKeeper


class Drivers:
    """Two sources of goals, of which the human's comes first.

    While a human has the arm, the policy's goal is suspended: it may end or be replaced, but moves nothing.
    It goes on when the human hands back. A human who falls silent does not hand back: both goals end.
    """

    def __init__(self) -> None:
        self._policy = GoalKeeper()
        self._human = GoalKeeper()

    @property
    def taken_over(self) -> bool:
        """Whether a human has the arm."""
        return self._human.goal_id is not None

    @property
    def goal_id(self) -> bytes | None:
        """The goal that may move the arm now; None when none may."""
        return self._human.goal_id or self._policy.goal_id

    @property
    def suspended(self) -> bytes | None:
        """The policy's goal that waits for the human to hand back; None when none does."""
        return self._policy.goal_id if self.taken_over else None

    def heartbeat(self, active: bool, goal_id: bytes, steady_ns: int, *, human: bool = False) -> bool:
        """Take a heartbeat in.

        :param steady_ns: When it arrived, steady clock.
        :param human: Whether it is the human's.
        :returns: Whether another goal, or none, may move the arm now.
        """
        before = self.goal_id
        (self._human if human else self._policy).heartbeat(active, goal_id, steady_ns)
        return self.goal_id != before

    def refuse(self, goal_id: bytes, *, human: bool = False) -> None:
        """Never let a goal become active."""
        (self._human if human else self._policy).refuse(goal_id)

    def handed_back(self, goal_id: bytes) -> bool:
        """Say whether a goal was the human's; chunks of it may come a little later than its end."""
        return self._human.has_ended(goal_id)

    def drop(self) -> None:
        """End both goals."""
        self._policy.drop()
        self._human.drop()

    def drop_suspended(self) -> None:
        """End the policy's goal alone."""
        self._policy.drop()

    def silence_s(self, steady_ns: int) -> float:
        """Return how long whoever has the arm has been silent; infinity before the first heartbeat."""
        return (self._human if self.taken_over else self._policy).silence_s(steady_ns)

    def policy_silence_s(self, steady_ns: int) -> float:
        """Return how long the policy has been silent; infinity before its first heartbeat."""
        return self._policy.silence_s(steady_ns)
