"""The one integrator: the target pose, moved within the limits towards where the chunk leads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil

import numpy as np

from dream_vla_ros.control.cone import Cone
from dream_vla_ros.control.leash import Leash, Stretch
from dream_vla_ros.control.limiter import Limiter
from dream_vla_ros.control.smoother import Smoother, smoothing_ticks
from dream_vla_ros.control.timeline import Advance
from dream_vla_ros.control.workspace import Box
from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import Array, Pose, quaternion_multiply

# Sums of control periods [s] and positions put back onto the box [m] are off by rounding; this is nothing.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Motion:
    """What one tick does to the target.

    :param linear: (3,) m/s in the base axes.
    :param angular: (3,) rad/s in the base axes.
    :param advanced: Whether the stretch of the chunk was taken.
    """

    linear: Array
    angular: Array
    advanced: bool
    speed_limited: bool
    workspace_limited: bool
    leash_limited: bool
    orientation_limited: bool = False


@dataclass(frozen=True)
class Held:
    """What shaped the motion of one tick."""

    workspace: bool = False
    orientation: bool = False
    leash: bool = False
    speed: bool = False


class _Phase(Enum):
    FOLLOW = "follow"
    """The reference moves along a chunk."""
    LAND = "land"
    """The reference stands; the target comes to rest on it."""
    BRAKE = "brake"
    """The target ramps straight to rest, wherever that is."""
    REST = "rest"
    """The target stands, and gives way to an arm that is pushed beyond the leash."""


class Integrator:
    """Target pose and the reference it follows.

    The reference is where the chunk's motion has led so far, at limited speed. The course follows so that it
    can always brake to a stand exactly at the reference: it lags by at most half the braking time, and when a
    chunk ends it comes to rest with the chunk's whole motion done. The target is the course with its twist
    averaged over the few ticks that the jerk limits ask for. All three stay in the workspace and in the
    orientation cone; a reference that gets too far from the measured pose waits or is pulled back.

    :param limits: Speeds, accelerations, workspace and leash.
    :param period_s: The control period.
    :param stop_time_s: Longest time from losing the reference to rest.
    """

    def __init__(self, limits: Limits, period_s: float, stop_time_s: float) -> None:
        self._period_s = period_s
        self._smoother = Smoother(smoothing_ticks(limits, period_s))
        self._stop_time_s = stop_time_s - (self._smoother.ticks - 1) * period_s
        self._cone = Cone.from_limits(limits)
        self._limiter = Limiter(limits, period_s)
        self._workspace = Box.from_limits(limits)
        self._leash = Leash.from_limits(limits)
        self._phase = _Phase.REST
        self._landing_s = 0.0
        self._reference: Pose | None = None
        self._course: Pose | None = None
        self.target: Pose | None = None

    @property
    def at_rest(self) -> bool:
        """Whether the target stands still."""
        return self._limiter.at_rest and self._smoother.at_rest

    def settle_on(self, measured: Pose) -> None:
        """Take the measured pose as target, while nothing is sent to the arm."""
        self.target = self._course = self._reference = measured
        self._phase = _Phase.REST
        self._limiter.halt()
        self._smoother.halt()

    def anchor(self, measured: Pose) -> None:
        """Let the motion to come start from the measured pose, if the target stands still."""
        if self.at_rest:
            self._reference = measured

    def brake(self) -> None:
        """Give up the rest of the motion: ramp straight to rest. Motion to come goes on from there."""
        self._phase = _Phase.BRAKE
        self._refer_to_rest()

    def follow(self, advance: Advance, measured: Pose) -> Motion:
        """Take a stretch of a chunk, or wait where the leash does not reach further.

        :param measured: Newest measured pose.
        """
        assert self._course is not None
        assert self._reference is not None
        self._phase = _Phase.FOLLOW
        reference = self._reference
        led = Pose(
            reference.position + advance.translation,
            quaternion_multiply(advance.quaternion, reference.quaternion),
        )
        stretch = Stretch.between(measured, led)
        advanced = not self._leash.holds_back(Stretch.between(measured, reference), stretch)
        pulled = self._pull(led if advanced else reference, measured)
        kept = self._approach(self._course)
        return self._move(
            Held(kept.workspace, kept.orientation, pulled or not advanced, advance.slowed or kept.speed),
            advanced,
        )

    def hold(self, measured: Pose | None) -> Motion:
        """Come to rest and stay.

        :param measured: Newest measured pose, for the leash; None to ignore it.
        """
        course = self._course
        if course is None:
            return Motion(np.zeros(3), np.zeros(3), False, False, False, False)
        if self._phase is _Phase.FOLLOW:
            self._phase = _Phase.LAND
            self._landing_s = 0.0
        if self._phase is _Phase.LAND:
            before = self._limiter.linear, self._limiter.angular
            self._approach(course)
            self._landing_s += self._period_s
            ticks = ceil(self._limiter.braking_s / self._period_s - _ROUNDING)
            if self._landing_s + ticks * self._period_s > self._stop_time_s + _ROUNDING:
                self._limiter.linear, self._limiter.angular = before
                self._phase = _Phase.BRAKE
        pulled = False
        if self._phase is _Phase.REST and measured is not None:
            pulled = self._pull(course, measured)
            self._approach(course)
        elif self._phase in (_Phase.BRAKE, _Phase.REST):
            self._limiter.brake()
        motion = self._move(Held(leash=pulled), False)
        if self._phase in (_Phase.LAND, _Phase.BRAKE) and self.at_rest:
            self._phase = _Phase.REST
        if self._phase in (_Phase.BRAKE, _Phase.REST):
            self._refer_to_rest()
        return motion

    def _refer_to_rest(self) -> None:
        if self._course is not None:
            self._reference = self._course.moved(*self._limiter.braking_way)

    def _pull(self, reference: Pose, measured: Pose) -> bool:
        taut = self._leash.is_taut(Stretch.between(measured, reference))
        self._reference = self._leash.pull(reference, measured) if taut else reference
        return taut

    def _approach(self, course: Pose) -> Held:
        """Turn the twist towards the reference; say what had a part in it."""
        assert self._reference is not None
        box = self._workspace.around(course.position)
        cone = self._cone.around(course.quaternion)
        inside = box.clamp(self._reference.position)
        upright = cone.clamp(self._reference.quaternion)
        outside = bool(np.any(np.abs(inside - self._reference.position) > _ROUNDING))
        tilted = upright is not self._reference.quaternion
        self._reference = Pose(inside, upright)
        linear, angular, capped = self._limiter.approach(*course.motion_to(self._reference))
        self._limiter.change(linear, angular, course, box, cone)
        return Held(outside, tilted, speed=capped)

    def _move(self, held: Held, advanced: bool) -> Motion:
        """Go one tick on with the limiter's twist."""
        assert self._course is not None
        assert self.target is not None
        limiter = self._limiter
        box = self._workspace.around(self._course.position)
        moved = self._course.moved(limiter.linear * self._period_s, limiter.angular * self._period_s)
        self._course = Pose(box.clamp(moved.position), moved.quaternion)
        linear, angular = self._smoother.push(limiter.linear, limiter.angular)
        self.target = self.target.moved(linear * self._period_s, angular * self._period_s)
        if self._smoother.ticks == 1:
            self.target = self._course
        elif self.at_rest:
            # What the order of averaged rotations leaves between the two is not carried on.
            self._course = self.target
        return Motion(linear, angular, advanced, held.speed, held.workspace, held.leash, held.orientation)
