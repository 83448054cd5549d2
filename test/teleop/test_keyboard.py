"""Keys of a terminal as a joystick."""

from __future__ import annotations

import pytest

from dream_vla_ros.teleop.keyboard import HOLD_S, Keyboard
from dream_vla_ros.teleop.mapping import Device, JoyMapping, JoyReader

READ = JoyReader(JoyMapping(device=Device.KEYBOARD, dead_band=0.0))


@pytest.mark.parametrize(("key", "axis", "sign"), [("w", 0, 1), ("d", 1, -1), ("r", 2, 1), ("l", 5, -1)])
def test_a_key_moves_while_it_repeats_and_no_longer(key: str, axis: int, sign: int):
    keyboard = Keyboard(speed=0.5)
    for number in range(20):
        keyboard.press(key, 0.033 * number)
        intent = READ(*keyboard.joy(0.033 * number + 0.03))
        assert intent.motion[axis] == sign * 0.5
        assert intent.dead_man
    last = 0.033 * 19
    assert not READ(*keyboard.joy(last + HOLD_S)).dead_man
    assert not READ(*keyboard.joy(last + HOLD_S)).motion.any()


def test_space_stops_at_once():
    keyboard = Keyboard()
    keyboard.press("w", 0.0)
    keyboard.press(" ", 0.01)
    assert not READ(*keyboard.joy(0.02)).dead_man


def test_the_gripper_and_the_hand_back_have_keys():
    keyboard = Keyboard()
    keyboard.press("]", 0.0)
    intent = READ(*keyboard.joy(0.0))
    assert intent.open
    assert intent.dead_man
    later = READ(*keyboard.joy(1.0))
    assert not later.open
    keyboard.press("h", 1.0)
    intent = READ(*keyboard.joy(1.0))
    assert intent.hand_back
    assert not intent.dead_man


def test_speed_stays_within_bounds():
    keyboard = Keyboard(speed=0.5)
    for _ in range(20):
        keyboard.press("+", 0.0)
    assert keyboard.speed == 1.0
    for _ in range(20):
        keyboard.press("-", 0.0)
    assert keyboard.speed == pytest.approx(0.1)


def test_keys_without_a_meaning_and_opposites_do_nothing():
    keyboard = Keyboard()
    for key in ("z", "?", "\x1b", ""):
        keyboard.press(key, 0.0)
    assert READ(*keyboard.joy(0.0)).dead_man is False
    keyboard.press("w", 0.0)
    keyboard.press("s", 0.0)
    assert not READ(*keyboard.joy(0.0)).motion.any()
