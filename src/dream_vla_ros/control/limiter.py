"""Speed and acceleration limits that keep the direction of the path.

Translation and rotation are scaled together, so a limit on one slows both. Everything is measured in the time
the arm needs: a twist by the time to brake from it, a distance by that time's square.
"""

from __future__ import annotations

from math import ceil, floor, sqrt

import numpy as np

from dream_vla_ros.control.cone import Cone
from dream_vla_ros.control.workspace import Box
from dream_vla_ros.embodiment import Limits
from dream_vla_ros.geometry import Array, Pose

# Nearer than this [m, rad] counts as there: a nanometre.
_THERE = 1e-9
# A braking distance that ends exactly at a wall may pass it by rounding [m].
_ROUNDING = 1e-12
# Halvings when looking for the largest change that still lets the arm brake before a wall: to 1/4096 of it.
_HALVINGS = 12


class Limiter:
    """The commanded twist, changed by no more than the limits allow at each tick.

    :param limits: Speeds and accelerations.
    :param period_s: The control period.
    """

    def __init__(self, limits: Limits, period_s: float) -> None:
        self._limits = limits
        self._period_s = period_s
        self.linear: Array = np.zeros(3)
        self.angular: Array = np.zeros(3)

    @property
    def braking_s(self) -> float:
        """Time to brake from the present twist to rest."""
        return self._braking_time(self.linear, self.angular)

    @property
    def at_rest(self) -> bool:
        """Whether nothing moves."""
        return not (self.linear.any() or self.angular.any())

    @property
    def braking_way(self) -> tuple[Array, Array]:
        """How far braking straight on from the present twist leads: (3,) m and (3,) rad."""
        coasting_s = self._coasting_time(self.linear, self.angular)
        return self.linear * coasting_s, self.angular * coasting_s

    def halt(self) -> None:
        """Forget the twist; only where nothing is commanded any more."""
        self.linear = np.zeros(3)
        self.angular = np.zeros(3)

    def approach(self, translation: Array, rotation: Array) -> tuple[Array, Array, bool]:
        """Return the fastest twist towards a place that can still be braked from in time to stop there.

        :param translation: (3,) m to go.
        :param rotation: (3,) rad to go.
        :returns: m/s, rad/s, and whether the speed limits capped them.
        """
        limits, period = self._limits, self._period_s
        distance, angle = _length(translation), _length(rotation)
        if distance < _THERE and angle < _THERE:
            return np.zeros(3), np.zeros(3), False
        # In ticks: speeds v, v - 1, ... over `ticks` ticks sum up to `way` exactly; the last is at most 1.
        way = max(distance / limits.linear_acceleration, angle / limits.angular_acceleration) / period**2
        ticks = max(1, ceil((sqrt(1.0 + 8.0 * way) - 1.0) / 2.0 - 1e-9))
        share = (way / ticks + (ticks - 1) / 2.0) / way / period
        cap = min(
            1.0,
            limits.linear_speed / max(distance * share, 1e-300),
            limits.angular_speed / max(angle * share, 1e-300),
        )
        return translation * (share * cap), rotation * (share * cap), cap < 1.0

    def change(self, linear: Array, angular: Array, course: Pose, box: Box, cone: Cone) -> None:
        """Change the twist towards a wanted one.

        :param linear: (3,) m/s wanted, within the speed limits.
        :param angular: (3,) rad/s wanted, within the speed limits.
        :param course: The pose that this twist moves, within box and cone.
        :param box: Where it must stay; there is always room to brake straight on.
        :param cone: How it may be turned; likewise.
        """
        share = self._share(self._braking_time(linear - self.linear, angular - self.angular))
        wanted = self._blend(linear, angular, share)
        if not self._can_brake(*wanted, course, box, cone):
            wanted = self._nearest_safe(self._braked(), wanted, course, box, cone)
        self.linear, self.angular = wanted

    def brake(self) -> None:
        """Change the twist straight towards rest."""
        self.linear, self.angular = self._braked()

    def _braked(self) -> tuple[Array, Array]:
        share = self._share(self.braking_s)
        return self._blend(np.zeros(3), np.zeros(3), share)

    def _share(self, needed_s: float) -> float:
        """Return the share of a change that fits into a tick, which needs a time as a whole."""
        # A time that is one tick but for rounding must not leave a trace of motion behind.
        return 1.0 if needed_s <= self._period_s * (1.0 + 1e-9) else self._period_s / needed_s

    def _nearest_safe(
        self, safe: tuple[Array, Array], wanted: tuple[Array, Array], course: Pose, box: Box, cone: Cone
    ) -> tuple[Array, Array]:
        low, high = 0.0, 1.0
        best = safe
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            tried = (
                safe[0] + (wanted[0] - safe[0]) * middle,
                safe[1] + (wanted[1] - safe[1]) * middle,
            )
            if self._can_brake(*tried, course, box, cone):
                low, best = middle, tried
            else:
                high = middle
        return best

    def _can_brake(self, linear: Array, angular: Array, course: Pose, box: Box, cone: Cone) -> bool:
        # One tick at this twist, then braking straight on.
        way_s = self._period_s + self._coasting_time(linear, angular)
        end = course.position + linear * way_s
        if not bool(np.all(end <= box.high + _ROUNDING) and np.all(end >= box.low - _ROUNDING)):
            return False
        return cone.open or cone.holds(course.moved(np.zeros(3), angular * way_s).quaternion)

    def _coasting_time(self, linear: Array, angular: Array) -> float:
        """Time at this twist that leads as far as braking from it, in n ticks of evenly falling speed."""
        period, needed = self._period_s, self._braking_time(linear, angular)
        n = floor(needed / period)
        return 0.0 if n == 0 else period * (n - n * (n + 1) * period / (2.0 * needed))

    def _blend(self, linear: Array, angular: Array, share: float) -> tuple[Array, Array]:
        if share >= 1.0:
            return linear, angular
        return self.linear + (linear - self.linear) * share, self.angular + (angular - self.angular) * share

    def _braking_time(self, linear: Array, angular: Array) -> float:
        return max(
            _length(linear) / self._limits.linear_acceleration,
            _length(angular) / self._limits.angular_acceleration,
        )


def _length(vector: Array) -> float:
    x, y, z = vector.tolist()
    return sqrt(x * x + y * y + z * z)
