"""Notices that the controller is missing or does not carry out a goal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.nodes.conversions import time_from_msg, uuid_from_msg
from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.nodes.policy.goal import GoalRun

# A controller takes a goal over with the next heartbeat; one that names none for longer has dropped it.
_DROPPED_AFTER_S = 1.0
_LOST_CAUSES = frozenset(
    {
        ControllerState.CAUSE_STATE_STALE,
        ControllerState.CAUSE_STATE_INVALID,
        ControllerState.CAUSE_ADAPTER,
        ControllerState.CAUSE_FAULT,
        ControllerState.CAUSE_DEAD_MAN,
    }
)

# A fault of the adapter comes and goes with every chunk; it is over after this much action time executed.
_RECOVERED_AFTER_S = 0.5


@dataclass
class _Trouble:
    began_s: float
    executed_s: float
    seen_s: float = 0.0


class ControllerWatch:
    """Judges from ``controller_state`` whether a goal can go on; called from the executor only.

    :param topic: Full name of the topic, for messages.
    :param timeout_s: How long anything may be missing.
    :param clock: The steady clock [s].
    """

    def __init__(self, topic: str, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._topic = topic
        self._timeout_s = timeout_s
        self._state: ControllerState | None = None
        self._heard_s = self._clock()
        self.begin()

    def begin(self) -> None:
        """Watch a new goal."""
        self._began_s = self._clock()
        self._named_s: float | None = None
        self._accepted = 0
        self._refused = 0
        self._trouble: _Trouble | None = None

    def hear(self, state: ControllerState) -> None:
        """Take a message in."""
        self._state = state
        self._heard_s = self._clock()

    def judge(self, run: GoalRun) -> tuple[Outcome, str] | None:
        """Say how the goal must end; None if it may go on."""
        now = self._clock()
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
        if state.taken_over:
            # The goal waits for the human to hand back; nothing said meanwhile is about it.
            self._named_s, self._trouble = now, None
            return None
        return self._judge_naming(state, run, now) or self._judge_trouble(state, run, now)

    def _judge_naming(self, state: ControllerState, run: GoalRun, now: float) -> tuple[Outcome, str] | None:
        if state.mode == ControllerState.NO_STATE or uuid_from_msg(state.goal_id) == run.request.goal_id:
            self._named_s = now
            return None
        why = state.message or "it does not say why"
        if self._named_s is not None:
            dropped = now - self._named_s > _DROPPED_AFTER_S
            return (Outcome.FAULT, f"the controller dropped the goal: {why}") if dropped else None
        if now - self._began_s > self._timeout_s + _DROPPED_AFTER_S:
            return Outcome.FAULT, f"the controller has not taken the goal over: {why}"
        return None

    def _judge_trouble(self, state: ControllerState, run: GoalRun, now: float) -> tuple[Outcome, str] | None:
        named = uuid_from_msg(state.goal_id) == run.request.goal_id
        executed_s = state.executed_time if named else 0.0
        if self._in_trouble(state, named):
            if self._trouble is None:
                self._trouble = _Trouble(now, executed_s)
            self._trouble.seen_s = now
        trouble = self._trouble
        if trouble is None:
            return None
        if executed_s - trouble.executed_s > _RECOVERED_AFTER_S or now - trouble.seen_s > self._timeout_s:
            self._trouble = None
        elif now - trouble.began_s > self._timeout_s:
            outcome = Outcome.STALE_INPUT if state.mode == ControllerState.NO_STATE else Outcome.FAULT
            return outcome, (
                f"the controller does not move the arm since {now - trouble.began_s:.1f} s: "
                f"{state.message or 'it does not say why'}"
            )
        return None

    def _in_trouble(self, state: ControllerState, named: bool) -> bool:
        """Say whether the newest message tells of something that keeps the arm from moving."""
        refusing = False
        if named:
            accepted, refused = state.chunks_accepted, state.chunks_refused
            refusing = refused > self._refused and accepted == self._accepted
            self._accepted, self._refused = accepted, refused
        return refusing or state.mode == ControllerState.NO_STATE or state.cause in _LOST_CAUSES
