"""What the controller takes beside the embodiment."""

from __future__ import annotations

from dataclasses import dataclass

from dream_vla_ros.embodiment import Limits, Timing
from dream_vla_ros.parameters import ParameterError, param


@dataclass(frozen=True)
class ControlSettings:
    """Budgets of the controller."""

    stop_time: float = param(
        0.2,
        "Time within which the arm stands after a loss or stop was detected [s].",
        minimum=0.01,
        maximum=2.0,
    )


def check_stop_time(settings: ControlSettings, limits: Limits, timing: Timing) -> None:
    """Refuse limits under which the arm cannot stand within the stop time.

    :raises ParameterError: Naming the parameters.
    """
    period_s = 1.0 / timing.control_rate
    for kind, speed, acceleration in (
        ("linear", limits.linear_speed, limits.linear_acceleration),
        ("angular", limits.angular_speed, limits.angular_acceleration),
    ):
        needed_s = speed / acceleration + period_s
        if needed_s > settings.stop_time:
            raise ParameterError(
                f"stopping from limits.{kind}_speed {speed} at limits.{kind}_acceleration {acceleration} "
                f"takes {needed_s:.3f} s with one control period, more than stop_time "
                f"{settings.stop_time} s: lower the speed or raise the acceleration"
            )
