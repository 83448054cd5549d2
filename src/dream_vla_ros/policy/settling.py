"""Notices that a policy asks for no more motion and that the arm makes none.

A learned policy never asks for exactly nothing. What it draws its actions from leaks into them, some
millimetres one way in one chunk and another way in the next. So a chunk is not judged by itself: over a time,
what was asked for has to cancel out, and the arm has to be where it was.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.parameters import param
from dream_vla_ros.policy.actions import Motion


@dataclass(frozen=True)
class SettleSettings:
    """When motion counts as settled."""

    time: float = param(
        3.0,
        "How long the arm must be still until a goal ends with SETTLED [s]; 0 never ends it so.",
        minimum=0.0,
        maximum=3600.0,
        read_only=False,
    )
    distance: float = param(
        0.02,
        "How far the end effector may wander in that time and still count as still [m].",
        minimum=0.0,
        maximum=1.0,
        read_only=False,
    )
    angle: float = param(
        0.2,
        "How far it may turn in that time and still count as still [rad].",
        minimum=0.0,
        maximum=3.2,
        read_only=False,
    )
    linear_speed: float = param(
        0.02,
        "Mean velocity over that time below which chunks ask for no translation [m/s]; a blocked "
        "arm is asked for more.",
        minimum=0.0,
        maximum=1.0,
        read_only=False,
    )
    angular_speed: float = param(
        0.1,
        "Mean angular velocity over that time below which chunks ask for no rotation [rad/s].",
        minimum=0.0,
        maximum=3.0,
        read_only=False,
    )
    gripper: float = param(
        0.1,
        "Change of opening in that time below which the gripper stays as it is, 1 from closed to open; "
        "measured, or asked for where no finger joints are known.",
        minimum=0.0,
        maximum=1.0,
        read_only=False,
    )


@dataclass(frozen=True, eq=False)
class _Look:
    time_s: float
    pose: Pose | None
    gripper: float
    velocity: Array
    turning: Array


class SettleDetector:
    """Watches the chunks of one goal and where the arm is as each is predicted.

    :param settings: Thresholds.
    """

    def __init__(self, settings: SettleSettings) -> None:
        self._settings = settings
        self._looks: deque[_Look] = deque()
        self._quiet_s = 0.0

    @property
    def quiet_s(self) -> float:
        """How long the arm has been still by now."""
        return self._quiet_s

    @property
    def settled(self) -> bool:
        """Whether that is long enough."""
        return 0.0 < self._settings.time <= self._quiet_s

    def add(
        self,
        motion: Motion,
        period_s: float,
        now_s: float,
        *,
        execute_s: float,
        pose: Pose | None,
        gripper: float | None,
    ) -> None:
        """Look at a new chunk.

        :param now_s: When it was published, steady clock.
        :param execute_s: Time of it that is executed before the next one comes.
        :param pose: Measured end effector that it was predicted from; None judges what is asked for alone.
        :param gripper: Measured opening then, 1 = open; None where it is not known.
        """
        steps = min(max(round(execute_s / period_s), 1), len(motion))
        translation, rotation = motion.translation[:steps], motion.rotation[:steps]
        if gripper is None:
            gripper = float(np.median(motion.gripper[:steps]))
        duration_s = steps * period_s
        look = _Look(
            now_s, pose, gripper, translation.sum(axis=0) / duration_s, rotation.sum(axis=0) / duration_s
        )
        if (
            _reach(translation) > 2.0 * self._settings.distance
            or _reach(rotation) > 2.0 * self._settings.angle
        ):
            # There and back within one chunk: no later look would tell.
            self._looks.clear()
            self._quiet_s = 0.0
            return
        self._looks.append(look)
        while not self._still():
            self._looks.popleft()
        while len(self._looks) > 2 and now_s - self._looks[1].time_s >= self._settings.time:
            self._looks.popleft()
        self._quiet_s = now_s - self._looks[0].time_s if self._asks_for_none() else 0.0

    def _still(self) -> bool:
        newest = self._looks[-1]
        spread = float(np.ptp([look.gripper for look in self._looks]))
        return spread <= self._settings.gripper and all(self._near(look, newest) for look in self._looks)

    def _near(self, before: _Look, now: _Look) -> bool:
        if before.pose is None or now.pose is None:
            return True
        translation, rotation = before.pose.motion_to(now.pose)
        return bool(
            np.linalg.norm(translation) <= self._settings.distance
            and np.linalg.norm(rotation) <= self._settings.angle
        )

    def _asks_for_none(self) -> bool:
        velocity = np.mean([look.velocity for look in self._looks], axis=0)
        turning = np.mean([look.turning for look in self._looks], axis=0)
        return bool(
            np.linalg.norm(velocity) <= self._settings.linear_speed
            and np.linalg.norm(turning) <= self._settings.angular_speed
        )


def _reach(steps: Array) -> float:
    """Return how far steps lead away from their beginning at most."""
    return float(np.linalg.norm(np.cumsum(steps, axis=0), axis=1).max())
