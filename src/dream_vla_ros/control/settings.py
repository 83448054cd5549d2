"""What the controller takes beside the embodiment."""

from __future__ import annotations

from dataclasses import dataclass

from dream_vla_ros.chunk import Blending
from dream_vla_ros.control.smoother import smoothing_ticks
from dream_vla_ros.embodiment import Limits, Timing
from dream_vla_ros.parameters import ParameterError, param

# Times that are equal but for rounding [s].
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ControlSettings:
    """Budgets of the controller, and how it joins chunks."""

    stop_time: float = param(
        0.2,
        "Time within which the arm stands after a loss or stop was detected [s].",
        minimum=0.01,
        maximum=2.0,
    )
    blending: Blending = param(
        Blending.LATEST,
        "How a new chunk joins the one before; set the policy's parameter of the same name alike.",
    )
    ensemble_decay: float = param(
        0.01,
        "For temporal_ensemble: chunk i, counted from the oldest, weighs exp(-ensemble_decay * i).",
        minimum=0.0,
        maximum=100.0,
    )
    fade_time: float = param(
        0.1,
        "Time over which motion fades from step to step and from chunk to chunk [s]; 0 switches at once.",
        minimum=0.0,
        maximum=2.0,
    )
    catch_up_time: float = param(
        0.4,
        "Time over which the arm catches up with where a chunk has it when it takes over [s]; 0 leaves out "
        "what it lacks by then.",
        minimum=0.0,
        maximum=2.0,
    )
    dead_man_topic: str = param(
        "", "std_msgs/Bool that must keep saying True while the arm is to move; empty asks for none."
    )
    dead_man_timeout: float = param(
        0.2, "Silence of that topic that counts as letting go [s].", minimum=0.02, maximum=5.0
    )
    dead_man_ends_goal: bool = param(
        True,
        "Whether letting go ends the goal; if not, it goes on when the switch is held again.",
    )


def check_stop_time(settings: ControlSettings, limits: Limits, timing: Timing) -> None:
    """Refuse limits under which the arm cannot stand within the stop time.

    :raises ParameterError: Naming the parameters.
    """
    period_s = 1.0 / timing.control_rate
    smoothing_s = (smoothing_ticks(limits, period_s) - 1) * period_s
    for kind, speed, acceleration in (
        ("linear", limits.linear_speed, limits.linear_acceleration),
        ("angular", limits.angular_speed, limits.angular_acceleration),
    ):
        needed_s = speed / acceleration + period_s + smoothing_s
        if needed_s > settings.stop_time + _ROUNDING:
            raise ParameterError(
                f"stopping from limits.{kind}_speed {speed} at limits.{kind}_acceleration {acceleration} "
                f"takes {needed_s:.3f} s with one control period and {smoothing_s:.3f} s for the jerk limits "
                f"(limits.linear_jerk {limits.linear_jerk}, limits.angular_jerk {limits.angular_jerk}), "
                f"more than stop_time {settings.stop_time} s: lower the speed, or raise acceleration or jerk"
            )
