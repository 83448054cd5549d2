"""What the gripper is told: openings as they come, or two states that do not chatter."""

from __future__ import annotations

from dataclasses import dataclass

from dream_vla_ros.embodiment import GripperMode, GripperRules

# Sums of control periods miss a time by rounding; less than this is no time [s].
_NO_TIME_S = 1e-9


@dataclass(frozen=True)
class GripperCommand:
    """What one tick tells the gripper.

    :param opening: 1 = open, 0 = closed; None before the first chunk.
    :param changed: Whether it differs from the tick before: the edge that action-based grippers need.
    :param held_back: Whether the chunk wants another state than the rules let it have.
    """

    opening: float | None
    changed: bool = False
    held_back: bool = False


class Gripper:
    """Applies hysteresis, dwell and stickiness to the openings that chunks ask for.

    :param rules: Thresholds and times.
    :param period_s: The control period.
    """

    def __init__(self, rules: GripperRules, period_s: float) -> None:
        self._rules = rules
        self._period_s = period_s
        self._wished_s = 0.0
        self._since_change_s = float("inf")
        self._opening: float | None = None

    @property
    def opening(self) -> float | None:
        """What is commanded; None before the first chunk."""
        return self._opening

    def hold(self) -> GripperCommand:
        """Go on with what is commanded, for a tick without a chunk."""
        self._since_change_s += self._period_s
        self._wished_s = 0.0
        return GripperCommand(self._opening)

    def ask(self, opening: float) -> GripperCommand:
        """Take one tick's wish in.

        :param opening: What the chunk asks for; kept to 0..1.
        """
        self._since_change_s += self._period_s
        opening = min(1.0, max(0.0, opening))
        if self._rules.mode is GripperMode.CONTINUOUS:
            changed = opening != self._opening
            return self._change(opening) if changed else GripperCommand(opening)
        wanted = self._state(opening)
        if wanted is None or wanted == self._opening:
            self._wished_s = 0.0
            return GripperCommand(self._opening)
        self._wished_s += self._period_s
        first = self._opening is None
        ripe = self._wished_s >= self._rules.dwell - _NO_TIME_S
        free = self._since_change_s >= self._rules.sticky - _NO_TIME_S
        if first or (ripe and free):
            return self._change(wanted)
        return GripperCommand(self._opening, held_back=True)

    def _state(self, opening: float) -> float | None:
        if opening >= self._rules.open_above:
            return 1.0
        if opening <= self._rules.close_below:
            return 0.0
        if self._opening is None:
            # Nothing was commanded before that could be kept: the nearer state.
            middle = (self._rules.open_above + self._rules.close_below) / 2.0
            return 1.0 if opening >= middle else 0.0
        return None

    def _change(self, opening: float) -> GripperCommand:
        self._opening = opening
        self._wished_s = 0.0
        self._since_change_s = 0.0
        return GripperCommand(opening, changed=True)
