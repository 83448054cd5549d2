"""The arm's state at the moment an image was taken, by the rule that datasets are made with.

The rule: the state of an observation is that at the capture of its oldest image, interpolated between the
samples around that moment, which may lie no further apart than ``timing.state_max_age``.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dream_vla_ros.embodiment import Embodiment, StateSource
from dream_vla_ros.geometry import Pose
from dream_vla_ros.kinematics import ForwardKinematics
from dream_vla_ros.robot_state import RobotState, gripper_opening
from dream_vla_ros.series import Poses, Values

# Longer than any image is used after its capture.
_KEPT_NS = 5 * 10**9


class StateUnknownError(Exception):
    """The state is not known at a moment, or not yet; the message says what is missing."""


@dataclass
class _Track:
    """Samples of one thing, by stamp; of two with the same stamp the first counts, as in datasets."""

    stamps_ns: list[int] = field(default_factory=list)
    samples: list[Any] = field(default_factory=list)

    def add(self, stamp_ns: int, sample: Any) -> None:
        place = bisect.bisect_left(self.stamps_ns, stamp_ns)
        if place < len(self.stamps_ns) and self.stamps_ns[place] == stamp_ns:
            return
        self.stamps_ns.insert(place, stamp_ns)
        self.samples.insert(place, sample)
        old = bisect.bisect_left(self.stamps_ns, self.stamps_ns[-1] - _KEPT_NS)
        del self.stamps_ns[:old], self.samples[:old]

    def around(self, stamp_ns: int) -> tuple[np.ndarray, list[Any]]:
        """Return the samples around a moment: at most one on each side, or the one exactly there."""
        place = bisect.bisect_left(self.stamps_ns, stamp_ns)
        chosen = slice(max(0, place - 1), place + 1)
        return np.array(self.stamps_ns[chosen], dtype=np.int64), self.samples[chosen]


class StateHistory:
    """What was measured of the arm lately.

    :param embodiment: Says what makes the pose, which joints are the fingers, and how far samples reach.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._state = embodiment.state
        self._max_gap_ns = round(embodiment.timing.state_max_age * 1e9)
        self._computed = self._state.source is StateSource.ROBOT_DESCRIPTION
        self._poses = _Track()
        self._joints: dict[str, _Track] = {}
        self.chain: ForwardKinematics | None = None

    def add_pose(self, stamp_ns: int, pose: Pose) -> None:
        """Take in a measured pose."""
        self._poses.add(stamp_ns, pose)

    def add_joints(self, stamp_ns: int, positions: Mapping[str, float]) -> None:
        """Take in measured joint positions."""
        for name, position in positions.items():
            self._joints.setdefault(name, _Track()).add(stamp_ns, position)

    def newest_ns(self) -> int:
        """Return up to when the state is known; 0 where it is not at all."""
        tracks = [self._joints.get(name, _Track()) for name in self._needed()]
        if not self._computed:
            tracks.append(self._poses)
        return min((track.stamps_ns[-1] if track.stamps_ns else 0 for track in tracks), default=0)

    def at(self, stamp_ns: int, pose: Pose | None = None) -> RobotState:
        """Interpolate the state.

        :param pose: The pose then, where it comes from elsewhere (tf).
        :raises StateUnknownError: If it is not known then, or not yet.
        """
        joints = {name: self._joint(name, stamp_ns) for name in self._needed()}
        if pose is None:
            pose = self._pose(joints, stamp_ns)
        return RobotState(
            stamp_ns=stamp_ns,
            received_ns=stamp_ns,
            pose=pose,
            joints=joints,
            joints_stamp_ns=stamp_ns if joints else None,
            gripper=gripper_opening(joints, self._state),
        )

    def _needed(self) -> tuple[str, ...]:
        chain = self.chain.joint_names if self._computed and self.chain is not None else ()
        return tuple(dict.fromkeys((*self._state.finger_joints, *chain)))

    def _joint(self, name: str, stamp_ns: int) -> float:
        stamps, samples = self._joints.get(name, _Track()).around(stamp_ns)
        values, known = Values(stamps, np.array(samples, dtype=np.float64).reshape(-1, 1)).at(
            np.array([stamp_ns]), self._max_gap_ns
        )
        if not known[0]:
            raise StateUnknownError(_unknown(f"position of joint '{name}'", stamps, stamp_ns))
        return float(values[0, 0])

    def _pose(self, joints: Mapping[str, float], stamp_ns: int) -> Pose:
        if self._computed:
            if self.chain is None:
                raise StateUnknownError("no robot description received")
            return self.chain.pose(joints)
        stamps, samples = self._poses.around(stamp_ns)
        poses = Poses(
            stamps,
            np.array([one.position for one in samples]).reshape(-1, 3),
            np.array([one.quaternion for one in samples]).reshape(-1, 4),
        )
        found, known = poses.at(np.array([stamp_ns]), self._max_gap_ns)
        if not known[0]:
            raise StateUnknownError(_unknown("pose of the arm", stamps, stamp_ns))
        return found[0]


def _unknown(what: str, stamps_ns: np.ndarray, stamp_ns: int) -> str:
    if len(stamps_ns) == 0:
        return f"no {what} received"
    if stamps_ns[-1] < stamp_ns:
        return f"no {what} measured since the image was taken ({(stamp_ns - stamps_ns[-1]) * 1e-6:.0f} ms)"
    if stamps_ns[0] > stamp_ns:
        return f"no {what} measured before the image was taken"
    gap_s = (stamps_ns[-1] - stamps_ns[0]) * 1e-9
    return f"{what}: samples around the image's capture lie {gap_s:.3f} s apart (timing.state_max_age)"
