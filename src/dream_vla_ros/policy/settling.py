"""Notices that a policy asks for no more motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dream_vla_ros.geometry import Array
from dream_vla_ros.parameters import param
from dream_vla_ros.policy.actions import Motion


@dataclass(frozen=True)
class SettleSettings:
    """When motion counts as settled."""

    time: float = param(
        3.0,
        "How long chunks must ask for no motion until a goal ends with SETTLED [s]; 0 never ends it so.",
        minimum=0.0,
        maximum=3600.0,
        read_only=False,
    )
    linear_speed: float = param(
        0.005,
        "Mean speed below which a chunk asks for no translation [m/s].",
        minimum=0.0,
        maximum=1.0,
        read_only=False,
    )
    angular_speed: float = param(
        0.05,
        "Mean speed below which a chunk asks for no rotation [rad/s].",
        minimum=0.0,
        maximum=3.0,
        read_only=False,
    )
    gripper: float = param(
        0.1,
        "Change of opening below which the gripper stays as it is.",
        minimum=0.0,
        maximum=1.0,
        read_only=False,
    )


class SettleDetector:
    """Watches the chunks of one goal.

    :param settings: Thresholds.
    """

    def __init__(self, settings: SettleSettings) -> None:
        self._settings = settings
        self._quiet_since_s: float | None = None
        self._gripper = 0.0
        self._quiet_s = 0.0

    @property
    def quiet_s(self) -> float:
        """How long the newest chunks asked for no motion; 0 when the newest one did."""
        return self._quiet_s

    @property
    def settled(self) -> bool:
        """Whether that is long enough."""
        return 0.0 < self._settings.time <= self._quiet_s

    def add(self, motion: Motion, period_s: float, now_s: float) -> None:
        """Look at a new chunk.

        :param now_s: When it was published, steady clock.
        """
        duration_s = len(motion) * period_s
        quiet = (
            _reach(motion.translation) / duration_s <= self._settings.linear_speed
            and _reach(motion.rotation) / duration_s <= self._settings.angular_speed
        )
        same_gripper = self._quiet_since_s is not None and bool(
            np.all(np.abs(motion.gripper - self._gripper) <= self._settings.gripper)
        )
        if quiet and same_gripper:
            assert self._quiet_since_s is not None
            self._quiet_s = now_s - self._quiet_since_s
            return
        self._quiet_s = 0.0
        steady_gripper = float(np.ptp(motion.gripper)) <= self._settings.gripper
        self._quiet_since_s = now_s if quiet and steady_gripper else None
        self._gripper = float(motion.gripper[-1])


def _reach(steps: Array) -> float:
    """Return how far a chunk leads away from its beginning at most; noise that cancels out leads nowhere."""
    return float(np.linalg.norm(np.cumsum(steps, axis=0), axis=1).max())
