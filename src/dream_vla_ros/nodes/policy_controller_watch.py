"""Notices that the controller is missing or does not carry out a goal."""

from __future__ import annotations

import time

from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.nodes.conversions import time_from_msg, uuid_from_msg
from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.nodes.policy_goal import GoalRun

# A controller takes a goal over with the next heartbeat; one that names none for longer has dropped it.
_DROPPED_AFTER_S = 1.0
_LOST_CAUSES = frozenset(
    {ControllerState.CAUSE_STATE_STALE, ControllerState.CAUSE_STATE_INVALID, ControllerState.CAUSE_ADAPTER}
)


class ControllerWatch:
    """Judges from ``controller_state`` whether a goal can go on; called from the executor only.

    :param topic: Full name of the topic, for messages.
    :param timeout_s: How long anything may be missing.
    """

    def __init__(self, topic: str, timeout_s: float) -> None:
        self._topic = topic
        self._timeout_s = timeout_s
        self._state: ControllerState | None = None
        self._heard_s = time.monotonic()
        self.begin()

    def begin(self) -> None:
        """Watch a new goal."""
        now = time.monotonic()
        self._began_s = now
        self._working_s = now
        self._named_s: float | None = None
        self._accepted = 0
        self._refused = 0

    def hear(self, state: ControllerState) -> None:
        """Take a message in."""
        self._state = state
        self._heard_s = time.monotonic()

    def judge(self, run: GoalRun) -> tuple[Outcome, str] | None:
        """Say how the goal must end; None if it may go on."""
        now = time.monotonic()
        silence_s = now - max(self._heard_s, self._began_s)
        if silence_s > self._timeout_s:
            return Outcome.FAULT, (
                f"nothing on '{self._topic}' for {silence_s:.1f} s: no controller would carry the goal out; "
                f"start it, or look at its log"
            )
        state = self._state
        if state is None or time_from_msg(state.header.stamp) < run.request.accepted_ros_ns:
            return None
        if state.mode == ControllerState.STOPPED:
            return Outcome.EMERGENCY_STOP, state.message or "the controller is stopped"
        return self._judge_naming(state, run, now) or self._judge_working(state, run, now)

    def _judge_naming(self, state: ControllerState, run: GoalRun, now: float) -> tuple[Outcome, str] | None:
        if state.mode == ControllerState.NO_STATE or uuid_from_msg(state.goal_id) == run.request.goal_id:
            self._named_s = now
        elif self._named_s is not None and now - self._named_s > _DROPPED_AFTER_S:
            return Outcome.FAULT, f"the controller dropped the goal: {state.message or 'it does not say why'}"
        return None

    def _judge_working(self, state: ControllerState, run: GoalRun, now: float) -> tuple[Outcome, str] | None:
        if uuid_from_msg(state.goal_id) != run.request.goal_id:
            accepted = refused = 0
        else:
            accepted, refused = state.chunks_accepted, state.chunks_refused
        lost = state.mode == ControllerState.NO_STATE or state.cause in _LOST_CAUSES
        refusing = refused > self._refused and accepted == self._accepted
        if not lost and not refusing:
            self._working_s = now
            self._accepted, self._refused = accepted, refused
        elif now - self._working_s > self._timeout_s:
            stale = state.mode == ControllerState.NO_STATE
            doing = "cannot steer the arm" if lost else "refuses every chunk"
            return (
                Outcome.STALE_INPUT if stale else Outcome.FAULT,
                f"the controller {doing} since {now - self._working_s:.1f} s: {state.message}",
            )
        return None
