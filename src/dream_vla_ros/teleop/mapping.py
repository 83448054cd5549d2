"""Which axis or button of a joystick means what."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import Enum

import numpy as np

from dream_vla_ros.geometry import Array
from dream_vla_ros.parameters import ParameterError, param

_TERM = re.compile(r"\s*([+-]?)\s*([ab])(\d+)\s*")
NONE = "none"
PRESSED = 0.5
MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw")


class JoyError(ValueError):
    """A joystick message that cannot be used; the message says why."""


class Device(str, Enum):
    """Joysticks whose layout is known."""

    GAMEPAD = "gamepad"
    """As ``joy_node`` reports pads of the Xbox kind."""
    SPACEMOUSE = "spacemouse"
    """As ``spacenav_node`` reports it on ``spacenav/joy``."""
    KEYBOARD = "keyboard"
    """As ``dream_vla keyboard`` sends."""


@dataclass(frozen=True)
class JoyMapping:
    """Sums of axes and buttons, such as ``a1``, ``-a0`` or ``b5-b4``; empty takes the device's own."""

    device: Device = param(Device.GAMEPAD, "Layout: gamepad, spacemouse or keyboard.")
    x: str = param("", "Motion along x of the base: axes a0, a1 ... and buttons b0, b1 ..., e.g. '-a1'.")
    y: str = param("", "Motion along y.")
    z: str = param("", "Motion along z.")
    roll: str = param("", "Rotation about x of the base.")
    pitch: str = param("", "Rotation about y.")
    yaw: str = param("", "Rotation about z.")
    dead_man: str = param("", "Held while the arm is to move; anything above one half counts as held.")
    open: str = param("", "Opens the gripper.")
    close: str = param("", "Closes the gripper.")
    toggle: str = param("", "Opens or closes it, whichever it is not.")
    hand_back: str = param("", "Gives the arm back to the policy, with the dead-man switch released.")
    dead_band: float = param(0.08, "Deflections below this share count as none.", minimum=0.0, maximum=0.9)


_LAYOUTS: dict[Device, dict[str, str]] = {
    Device.GAMEPAD: {
        "x": "a1",
        "y": "a0",
        "z": "a4",
        "roll": "-a6",
        "pitch": "a7",
        "yaw": "a3",
        "dead_man": "b4",
        "open": "b1",
        "close": "b0",
        "hand_back": "b3",
    },
    Device.SPACEMOUSE: {
        "x": "a0",
        "y": "a1",
        "z": "a2",
        "roll": "a3",
        "pitch": "a4",
        "yaw": "a5",
        "dead_man": "b0",
        "toggle": "b1",
        "hand_back": "b1",
    },
    Device.KEYBOARD: {
        "x": "a0",
        "y": "a1",
        "z": "a2",
        "roll": "a3",
        "pitch": "a4",
        "yaw": "a5",
        "dead_man": "b0",
        "open": "b1",
        "close": "b2",
        "hand_back": "b3",
    },
}


@dataclass(frozen=True)
class Expression:
    """A sum of axes and buttons.

    :param terms: Sign, ``a`` or ``b``, and index of each.
    """

    terms: tuple[tuple[float, str, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Read ``-a0``, ``b5-b4`` or ``none``.

        :raises ValueError: If it is neither.
        """
        if text.strip() in ("", NONE):
            return cls()
        terms, place = [], 0
        while place < len(text):
            found = _TERM.match(text, place)
            if found is None or (place and not found[1]):
                raise ValueError(f"'{text}' is not a sum of axes and buttons such as 'a1', '-a0' or 'b5-b4'")
            terms.append((-1.0 if found[1] == "-" else 1.0, found[2], int(found[3])))
            place = found.end()
        return cls(tuple(terms))

    def __call__(self, axes: Sequence[float], buttons: Sequence[int]) -> float:
        """Return the sum.

        :raises JoyError: If the joystick lacks an axis or button, or a number is not finite.
        """
        total = 0.0
        for sign, kind, index in self.terms:
            values = axes if kind == "a" else buttons
            if index >= len(values):
                what = "axes" if kind == "a" else "buttons"
                raise JoyError(f"the joystick has {len(values)} {what}, but {kind}{index} is used")
            total += sign * float(values[index])
        if not math.isfinite(total):
            raise JoyError(f"an axis of the joystick is {total}")
        return total


@dataclass(frozen=True, eq=False)
class Intent:
    """What the human asks for at one moment.

    :param motion: (6,) deflections from -1 to 1: x, y, z, then rotations about them.
    :param dead_man: Whether the dead-man switch is held.
    """

    motion: Array
    dead_man: bool
    open: bool = False
    close: bool = False
    toggle: bool = False
    hand_back: bool = False


class JoyReader:
    """Reads joystick messages by a mapping.

    :raises ParameterError: If an expression is malformed, or there is no dead-man switch.
    """

    def __init__(self, mapping: JoyMapping) -> None:
        layout = _LAYOUTS[Device(mapping.device)]
        self._dead_band = mapping.dead_band
        self._parts: dict[str, Expression] = {}
        for field in fields(mapping):
            if field.name in ("device", "dead_band"):
                continue
            text = getattr(mapping, field.name) or layout.get(field.name, NONE)
            try:
                self._parts[field.name] = Expression.parse(text)
            except ValueError as error:
                raise ParameterError(f"parameter 'joy.{field.name}': {error}") from error
        if not self._parts["dead_man"].terms:
            raise ParameterError(
                "parameter 'joy.dead_man' names no button: the arm must not move without one"
            )

    def __call__(self, axes: Sequence[float], buttons: Sequence[int]) -> Intent:
        """Read one message.

        :raises JoyError: If it lacks something or is not finite.
        """
        value = {name: part(axes, buttons) for name, part in self._parts.items()}
        pressed = {
            name: value[name] > PRESSED for name in ("dead_man", "open", "close", "toggle", "hand_back")
        }
        return Intent(np.array([self._deflection(value[name]) for name in MOTIONS]), **pressed)

    def _deflection(self, value: float) -> float:
        size = min(abs(value), 1.0)
        if size <= self._dead_band:
            return 0.0
        # Beyond the dead band motion begins from nothing, without a jump.
        return math.copysign((size - self._dead_band) / (1.0 - self._dead_band), value)
