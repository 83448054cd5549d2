"""The dead-man switch: the arm moves only while someone keeps holding it."""

from __future__ import annotations

from dream_vla_ros.control.command import Cause, Reason


class DeadMan:
    """Judges the messages of a switch that must keep saying that it is held.

    :param required: Whether there is one; without, it counts as held.
    :param timeout_s: Silence that counts as letting go.
    """

    def __init__(self, required: bool, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._held_ns: int | None = None
        self._heard = False
        self.required = required

    def hear(self, held: bool, steady_ns: int) -> None:
        """Take a message in.

        :param steady_ns: When it arrived, steady clock.
        """
        self._heard = True
        self._held_ns = steady_ns if held else None

    def problem(self, steady_ns: int) -> Reason | None:
        """Say why the arm must stand; None while the switch is held, or if there is none."""
        if not self.required:
            return None
        if self._held_ns is None:
            return Reason(
                Cause.DEAD_MAN,
                "the dead-man switch is not held" if self._heard else "the dead-man switch was never heard",
            )
        silence_s = (steady_ns - self._held_ns) * 1e-9
        if silence_s <= self._timeout_s:
            return None
        return Reason(
            Cause.DEAD_MAN,
            f"the dead-man switch has been silent for {silence_s:.3f} s, more than dead_man_timeout "
            f"{self._timeout_s} s",
        )
