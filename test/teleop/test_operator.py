"""When a human has the arm, when it moves, and when he hands it back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.embodiment import Limits
from dream_vla_ros.teleop.mapping import Intent
from dream_vla_ros.teleop.operator import Drive, Operator, TeleopSettings, View, known_opening

MS = 1_000_000
PERIOD_NS = round(1e9 / 30.0)
FORWARD = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])


class Desk:
    """A human at a joystick that repeats what it is told."""

    def __init__(self, view: View | None = None) -> None:
        ids = iter(range(1, 256))
        self.operator = Operator(TeleopSettings(), Limits(), lambda: bytes([next(ids)]) * 16)
        self.now_ns = 10**12
        self.view = view or View(gripper=1.0)
        self.intent: Intent | None = Intent(np.zeros(6), dead_man=False)
        self.controller_follows = True

    def tick(self, count: int = 1) -> Drive:
        drive = Drive()
        for _ in range(count):
            self.now_ns += PERIOD_NS
            if self.intent is not None:
                self.operator.hear(self.intent, self.now_ns)
            drive = self.operator.tick(self.now_ns, self.now_ns, self.view)
            if self.controller_follows:
                self.view = dataclasses.replace(self.view, goal_id=drive.goal_id)
        return drive

    def press(self, motion: np.ndarray = FORWARD, **what: bool) -> Drive:
        self.intent = Intent(motion, dead_man=True, **what)
        drive = self.tick()
        # The controller names the goal before it gets chunks.
        return self.tick() if drive.goal_id is not None and drive.chunk is None else drive

    def release(self, **what: bool) -> Drive:
        self.intent = Intent(FORWARD, dead_man=False, **what)
        return self.tick()


def speed(drive: Drive) -> float:
    assert drive.chunk is not None
    return float(np.linalg.norm(drive.chunk.translation[0]) / drive.chunk.period_s)


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.tick()
    return made


def test_a_stick_alone_moves_nothing(desk: Desk):
    desk.intent = Intent(FORWARD, dead_man=False)
    assert desk.tick(10) == Drive()


def test_the_dead_man_switch_takes_the_arm_and_moves_it(desk: Desk):
    drive = desk.press()
    assert drive.goal_id == bytes([1]) * 16
    assert drive.chunk is not None
    assert speed(drive) == pytest.approx(0.1)
    np.testing.assert_array_equal(drive.chunk.gripper, 1.0)
    assert 0.1 <= drive.chunk.duration_s <= 0.15
    assert drive.chunk.stamp_ns == desk.now_ns
    assert desk.tick().chunk.chunk_id == 2


def test_a_switch_held_since_the_start_counts_only_once_it_was_released():
    desk = Desk()
    assert desk.press().goal_id is None
    desk.release()
    assert desk.press().goal_id is not None


def test_released_without_a_policy_the_arm_is_free_at_once(desk: Desk):
    desk.press()
    assert desk.release() == Drive()
    assert desk.press().goal_id == bytes([2]) * 16


def test_released_with_a_policys_goal_waiting_the_arm_stands_until_handed_back(desk: Desk):
    desk.view = View(policy_active=True, gripper=1.0)
    goal = desk.press().goal_id
    for _ in range(30):
        drive = desk.release()
        assert drive.goal_id == goal
        assert speed(drive) == 0.0
    assert speed(desk.press()) > 0.0
    desk.release()
    assert desk.release(hand_back=True) == Drive()
    assert desk.release() == Drive()


def test_a_hand_back_button_counts_only_with_the_switch_released(desk: Desk):
    desk.view = View(policy_active=True, gripper=1.0)
    desk.press()
    assert desk.press(hand_back=True).goal_id is not None
    # Kept down while the switch is let go, it was not pressed to hand back.
    assert desk.release(hand_back=True).goal_id is not None


def test_a_silent_joystick_stops_the_arm_and_needs_a_new_press(desk: Desk):
    desk.view = View(policy_active=True, gripper=1.0)
    desk.press()
    desk.intent = None
    began = desk.now_ns
    while speed(desk.tick()) > 0.0:
        assert desk.now_ns - began < 300 * MS
    assert desk.now_ns - began <= 200 * MS + PERIOD_NS
    assert "silent" in desk.operator.message
    assert speed(desk.press()) == 0.0
    desk.release()
    assert speed(desk.press()) > 0.0


def test_what_cannot_be_read_stops_the_arm(desk: Desk):
    desk.press()
    desk.intent = None
    desk.operator.refuse("an axis of the joystick is nan")
    assert desk.tick() == Drive()
    assert "nan" in desk.operator.message


def test_after_an_emergency_stop_the_switch_must_be_pressed_anew(desk: Desk):
    desk.press()
    desk.view = View(stopped=True, gripper=1.0)
    assert desk.press() == Drive()
    desk.view = View(gripper=1.0)
    assert desk.press() == Drive()
    desk.release()
    assert desk.press().goal_id == bytes([2]) * 16


def test_no_chunk_overtakes_its_goal(desk: Desk):
    desk.controller_follows = False
    drive = desk.press()
    assert drive.goal_id is not None
    assert drive.chunk is None
    desk.controller_follows = True
    desk.tick()
    assert desk.tick().chunk is not None


def test_handed_back_from_outside_a_switch_that_is_held_must_be_pressed_anew(desk: Desk):
    desk.view = View(policy_active=True, gripper=1.0)
    desk.press()
    desk.operator.hand_back()
    assert desk.press() == Drive()
    desk.release()
    assert desk.press().goal_id is not None


def test_a_controller_that_does_not_follow_ends_it(desk: Desk):
    desk.controller_follows = False
    desk.press()
    assert desk.tick(15).goal_id is not None
    assert desk.tick(5) == Drive()
    assert "controller" in desk.operator.message


def test_without_a_controller_there_is_nothing_to_drive():
    desk = Desk(View(gripper=1.0, controller=False))
    desk.tick()
    assert desk.press() == Drive()
    assert "controller" in desk.operator.message
    desk.view = View(gripper=1.0)
    # The switch was pressed while nothing could follow.
    assert desk.press() == Drive()
    desk.release()
    assert desk.press().goal_id is not None


def test_the_gripper_stays_as_it_was_and_then_does_as_told(desk: Desk):
    desk.view = View(gripper=0.02)
    assert desk.press().chunk.gripper[0] == 0.0
    assert desk.press(open=True).chunk.gripper[0] == 1.0
    assert desk.press().chunk.gripper[0] == 1.0
    assert desk.press(toggle=True).chunk.gripper[0] == 0.0
    assert desk.press(toggle=True).chunk.gripper[0] == 0.0
    desk.press()
    assert desk.press(toggle=True).chunk.gripper[0] == 1.0
    assert desk.press(close=True).chunk.gripper[0] == 0.0


@pytest.mark.parametrize(
    ("commanded", "measured", "expected"),
    [
        (0.0, 0.51, 0.0),
        (0.0, 1.0, 1.0),
        (1.0, 0.6, 1.0),
        (1.0, 0.0, 0.0),
        (float("nan"), 0.3, 0.3),
        (1.0, None, 1.0),
        (float("nan"), None, None),
    ],
)
def test_a_command_counts_unless_the_fingers_are_elsewhere(commanded, measured, expected):
    assert known_opening(commanded, measured) == expected


def test_an_unknown_gripper_moves_nothing_before_it_is_told():
    desk = Desk(View())
    desk.tick()
    assert desk.press() == Drive()
    assert "gripper" in desk.operator.message
    assert desk.press(close=True).chunk.gripper[0] == 0.0


@settings(deadline=None)
@given(motion=st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6))
def test_no_deflection_is_faster_than_the_settings_or_the_limits(motion: list[float]):
    limits = Limits(linear_speed=0.07)
    operator = Operator(TeleopSettings(), limits, lambda: bytes([1]) * 16)
    operator.hear(Intent(np.zeros(6), dead_man=False), 0)
    operator.tick(0, 0, View(gripper=1.0))
    operator.hear(Intent(np.array(motion), dead_man=True), 1)
    operator.tick(1, 1, View(gripper=1.0))
    chunk = operator.tick(1, 1, View(gripper=1.0, goal_id=bytes([1]) * 16)).chunk
    assert chunk is not None
    assert np.all(np.linalg.norm(chunk.translation, axis=1) <= 0.07 * chunk.period_s * (1 + 1e-9))
    assert np.all(np.linalg.norm(chunk.rotation, axis=1) <= 0.6 * chunk.period_s * (1 + 1e-9))
