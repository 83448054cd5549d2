"""From what a human asks for to action chunks: when he has the arm, when it moves, when he hands it back.

The dead-man switch takes the arm over and moves it. Released, the arm stands. If the policy had a goal, the
human keeps the arm until he hands it back by button; otherwise it is free at once. A joystick that falls
silent or reports nonsense counts as released, and so does everything after an emergency stop; to move again
the switch must be seen released first.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.embodiment import Limits
from dream_vla_ros.parameters import param
from dream_vla_ros.teleop.mapping import Intent

_CLEARLY_OPEN, _HALF = 0.95, 0.5
READY = "ready: hold the dead-man switch to drive"
# Motion is sent this far ahead [s]: enough for a few lost messages, little enough to stop by itself.
_AHEAD_S = 0.12
# A controller that does not name our goal for longer than this [s] has dropped or never taken it.
_DISOWNED_AFTER_S = 0.6


@dataclass(frozen=True)
class TeleopSettings:
    """How fast a human drives, and how soon silence counts."""

    linear_speed: float = param(
        0.1, "Speed at full deflection [m/s]; the robot's own limit holds too.", minimum=0.001, maximum=2.0
    )
    angular_speed: float = param(
        0.6, "Rotation speed at full deflection [rad/s].", minimum=0.001, maximum=6.0
    )
    rate: float = param(30.0, "Chunks per second [Hz].", minimum=10.0, maximum=200.0)
    joy_timeout: float = param(
        0.2,
        "Silence of the joystick after which the arm stands [s]; joy_node must repeat (autorepeat_rate 20).",
        minimum=0.02,
        maximum=2.0,
    )


@dataclass(frozen=True)
class View:
    """What is known of the rest of the robot.

    :param policy_active: Whether the policy has a goal.
    :param stopped: Whether the emergency stop is latched.
    :param goal_id: Goal the controller names; None where it was not heard.
    :param gripper: What the gripper is doing, by :func:`known_opening`; None where that is not known.
    :param controller: Whether there is a controller to follow.
    """

    policy_active: bool = False
    stopped: bool = False
    goal_id: bytes | None = None
    gripper: float | None = None
    controller: bool = True


@dataclass(frozen=True)
class Drive:
    """What to tell the controller.

    :param goal_id: The human's goal; None where he does not have the arm.
    :param chunk: Motion; None where he does not have the arm, or the controller does not know yet.
    """

    goal_id: bytes | None = None
    chunk: ActionChunk | None = None


def known_opening(commanded: float, measured: float | None) -> float | None:
    """Say what the gripper is doing, so that taking over does not move it.

    What was commanded counts, for fingers on a block are neither open nor closed; unless they are clearly
    where nobody sent them, as after somebody else moved them.

    :param commanded: Last command, 1 = open; NaN where there was none.
    :param measured: Measured opening; None where it is not known.
    """
    if measured is None:
        return None if math.isnan(commanded) else commanded
    contradicted = measured > _CLEARLY_OPEN if commanded < _HALF else measured < 1.0 - _CLEARLY_OPEN
    return measured if math.isnan(commanded) or contradicted else commanded


class Operator:
    """One human at one joystick.

    :param limits: Speeds are never asked for beyond these.
    :param new_id: Makes goal ids of 16 bytes.
    """

    def __init__(
        self,
        settings: TeleopSettings,
        limits: Limits,
        new_id: Callable[[], bytes] = lambda: uuid.uuid4().bytes,
    ) -> None:
        linear = min(settings.linear_speed, limits.linear_speed)
        angular = min(settings.angular_speed, limits.angular_speed)
        self._speeds = np.array([linear] * 3 + [angular] * 3)
        self._period_s = 1.0 / settings.rate
        self._steps = max(2, round(_AHEAD_S * settings.rate))
        self._timeout_ns = round(settings.joy_timeout * 1e9)
        self._new_id = new_id
        self._intent: Intent | None = None
        self._heard_ns = 0
        self._fault = "no message of the joystick yet"
        self._armed = False
        self._goal_id: bytes | None = None
        self._followed = False
        self._named_ns = 0
        self._chunk_id = 0
        self._gripper: float | None = None
        self._toggled = self._handed = False
        self.message = ""

    @property
    def in_charge(self) -> bool:
        """Whether the human has the arm."""
        return self._goal_id is not None

    def hear(self, intent: Intent, steady_ns: int) -> None:
        """Take in what the human asks for."""
        self._intent, self._heard_ns, self._fault = intent, steady_ns, ""

    def refuse(self, problem: str) -> None:
        """Count the joystick as silent, because what it says cannot be used."""
        self._intent, self._fault = None, problem

    def hand_back(self) -> None:
        """Give the arm back; a switch that is held meanwhile must be pressed anew."""
        self._leave("handed back", armed=False)

    def tick(self, ros_ns: int, steady_ns: int, view: View) -> Drive:
        """Decide what to tell the controller now."""
        intent = self._fresh(steady_ns)
        pressed = intent is not None and intent.dead_man
        if intent is None:
            self._armed = False
        elif not intent.dead_man:
            self._armed = True
        if view.stopped:
            self._armed = self._armed and not pressed
            self._leave("the emergency stop is pressed", armed=self._armed)
            return Drive()
        self._watch_controller(view, steady_ns)
        edge_toggle, edge_hand = self._edges(intent)
        if not self.in_charge and not view.controller:
            self._leave("no controller is heard", armed=False)
            return Drive()
        if not self.in_charge and pressed and self._armed:
            self._take(view, intent, steady_ns)
        if not self.in_charge:
            if self._armed and not pressed:
                self.message = READY
            elif intent is None:
                self.message = self._fault
            return Drive()
        if not pressed and (edge_hand or not view.policy_active):
            self._leave("handed back" if edge_hand else "", armed=self._armed)
            return Drive()
        if not self._followed:
            # Chunks that overtake their goal on its own topic would count as strangers.
            return Drive(self._goal_id)
        moving = pressed and self._armed and intent is not None
        if moving and intent is not None:
            self._grip(intent, edge_toggle)
        self.message = "driving" if moving else self._fault or "holding; hand back to let the policy go on"
        return Drive(self._goal_id, self._chunk(intent.motion if moving and intent else np.zeros(6), ros_ns))

    def _fresh(self, steady_ns: int) -> Intent | None:
        if self._intent is not None and steady_ns - self._heard_ns > self._timeout_ns:
            self.refuse(f"the joystick has been silent for more than {self._timeout_ns * 1e-9:g} s")
        return self._intent

    def _edges(self, intent: Intent | None) -> tuple[bool, bool]:
        toggle, hand = (intent.toggle, intent.hand_back) if intent is not None else (False, False)
        edges = toggle and not self._toggled, hand and not self._handed
        self._toggled, self._handed = toggle, hand
        return edges

    def _take(self, view: View, intent: Intent | None, steady_ns: int) -> None:
        self._gripper = None if view.gripper is None else float(view.gripper >= _HALF)
        if intent is not None and (intent.open or intent.close):
            self._gripper = float(intent.open)
        if self._gripper is None:
            self.message = "the gripper's opening is not known: press open or close with the dead-man switch"
            return
        self._goal_id, self._chunk_id, self._named_ns = self._new_id(), 0, steady_ns
        self._followed = False

    def _leave(self, message: str, *, armed: bool) -> None:
        self._goal_id, self._armed, self.message = None, armed, message or self._fault

    def _watch_controller(self, view: View, steady_ns: int) -> None:
        if view.goal_id == self._goal_id:
            self._named_ns, self._followed = steady_ns, self.in_charge
        elif self.in_charge and steady_ns - self._named_ns > _DISOWNED_AFTER_S * 1e9:
            self._leave(
                "the controller does not follow; release the dead-man switch and press it anew", armed=False
            )

    def _grip(self, intent: Intent, toggle: bool) -> None:
        if intent.open != intent.close:
            self._gripper = float(intent.open)
        elif toggle and self._gripper is not None:
            self._gripper = 1.0 - self._gripper

    def _chunk(self, deflection: np.ndarray, ros_ns: int) -> ActionChunk:
        assert self._goal_id is not None
        assert self._gripper is not None
        # A diagonal deflection is no faster than a straight one.
        parts = [part / max(1.0, float(np.linalg.norm(part))) for part in (deflection[:3], deflection[3:])]
        motion = np.concatenate(parts) * self._speeds * self._period_s
        self._chunk_id += 1
        return ActionChunk(
            np.tile(motion[:3], (self._steps, 1)),
            np.tile(motion[3:], (self._steps, 1)),
            np.full(self._steps, self._gripper),
            self._period_s,
            ros_ns,
            self._goal_id,
            self._chunk_id,
        )
