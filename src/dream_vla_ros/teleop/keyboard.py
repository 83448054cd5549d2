"""A terminal's keys as a joystick.

A terminal tells when a key is pressed or repeats, never when it is let go; so a key counts as held for a
moment after each, which is also the dead-man switch. A tap is a nudge; a key kept down nudges, pauses until
the terminal begins to repeat it, and then goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Longer than the 30 to 40 ms between repeats with the jitter of a network, shorter than a person notices.
HOLD_S = 0.15
_AXES = {
    "w": (0, 1.0),
    "s": (0, -1.0),
    "a": (1, 1.0),
    "d": (1, -1.0),
    "r": (2, 1.0),
    "f": (2, -1.0),
    "u": (3, 1.0),
    "o": (3, -1.0),
    "i": (4, 1.0),
    "k": (4, -1.0),
    "j": (5, 1.0),
    "l": (5, -1.0),
}
_DEAD_MAN, _OPEN, _CLOSE, _HAND_BACK = range(4)
_BUTTONS = {"]": _OPEN, "[": _CLOSE, "h": _HAND_BACK}
_SLOWEST, _STEP = 0.1, 0.1
HELP = """\
  w/s  forward, back     a/d  left, right      r/f  up, down
  u/o  roll              i/k  pitch            j/l  yaw
  ]/[  open, close       h    hand the arm back to the policy
  +/-  faster, slower    space stop            q    quit
Keep a key down to go on; the arm stands when no key comes."""


@dataclass
class Keyboard:
    """Keys pressed lately.

    :param speed: Deflection that a key stands for, 0.1 to 1.
    """

    speed: float = 0.5
    _until: dict[str, float] = field(default_factory=dict)

    def press(self, key: str, now_s: float) -> None:
        """Take in a key; keys without a meaning are ignored.

        :param now_s: Steady clock.
        """
        key = key.lower()
        if key == " ":
            self._until.clear()
        elif key in "+=":
            self.speed = min(1.0, self.speed + _STEP)
        elif key in "-_":
            self.speed = max(_SLOWEST, self.speed - _STEP)
        elif key in _AXES or key in _BUTTONS:
            self._until[key] = now_s + HOLD_S

    def joy(self, now_s: float) -> tuple[list[float], list[int]]:
        """Return axes and buttons as of now."""
        held = [key for key, until in self._until.items() if now_s < until]
        axes, buttons = [0.0] * 6, [0] * 4
        for key in held:
            if key in _AXES:
                axis, sign = _AXES[key]
                axes[axis] += sign * self.speed
            else:
                buttons[_BUTTONS[key]] = 1
        buttons[_DEAD_MAN] = int(any(key != "h" for key in held))
        return axes, buttons
