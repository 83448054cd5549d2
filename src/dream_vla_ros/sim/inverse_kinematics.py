"""Differential inverse kinematics of the simulated arm: a Cartesian target in, servo angles out."""

from __future__ import annotations

import mink
import numpy as np
from numpy.typing import ArrayLike

from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.sim.arm import ARM_JOINTS, EE_LINK, HOME_ANGLES
from dream_vla_ros.sim.scene import build_arm_spec

# Half a radian of rotation error weighs as much as 15 cm of position error.
_POSITION_COST = 1.0
_ORIENTATION_COST = 0.3
# Keeps joints slow where the Jacobian loses rank (arm stretched); too small to be felt elsewhere.
_LEVENBERG_MARQUARDT = 1e-3
_JOINT_DAMPING = 1e-6


class InverseKinematics:
    """Moves commanded joint angles towards an end-effector pose within joint limits and speeds.

    Each step starts from the previous command, not from the measured joints, so the arm's lag does not feed
    back into the command.
    """

    def __init__(self) -> None:
        self._configuration = mink.Configuration(
            build_arm_spec(fingers=False).compile(), np.array(HOME_ANGLES)
        )
        model = self._configuration.model
        self._frame = mink.FrameTask(
            EE_LINK, "site", _POSITION_COST, _ORIENTATION_COST, lm_damping=_LEVENBERG_MARQUARDT
        )
        self._limits = [
            mink.ConfigurationLimit(model),
            mink.VelocityLimit(model, {joint.name: joint.max_speed for joint in ARM_JOINTS}),
        ]

    @property
    def angles(self) -> Array:
        """Commanded joint angles (6,) [rad]."""
        return np.array(self._configuration.q)

    def reset(self, angles: ArrayLike) -> None:
        """Start again from given joint angles (6,) [rad]."""
        self._configuration.update(np.asarray(angles, dtype=np.float64))

    def forward(self) -> Pose:
        """Return the pose of ``ee_link`` at the commanded angles, in ``base_link``."""
        transform = self._configuration.get_transform_frame_to_world(EE_LINK, "site")
        w, x, y, z = transform.rotation().wxyz
        return Pose(transform.translation(), np.array([x, y, z, w]))

    def step(self, target: Pose, duration_s: float) -> Array:
        """Move the commanded angles towards a pose.

        :param target: Pose of ``ee_link`` in ``base_link``.
        :param duration_s: Time the motion may take; joint speed limits hold over it.
        :returns: (6,) commanded joint angles [rad]. At a joint limit or out of reach they stop at the nearest
            the solver finds.
        """
        self._aim(target)
        velocity = mink.solve_ik(
            self._configuration,
            [self._frame],
            duration_s,
            "daqp",
            damping=_JOINT_DAMPING,
            limits=self._limits,
        )
        self._configuration.integrate_inplace(velocity, duration_s)
        return self.angles

    def solve(self, target: Pose, *, tolerance_m: float = 1e-4, max_steps: int = 200) -> Array:
        """Find joint angles for a pose, beginning at the commanded ones.

        :raises ValueError: If the pose is out of reach.
        """
        for _ in range(max_steps):
            self.step(target, 0.05)
            translation, rotation = self.forward().motion_to(target)
            if np.linalg.norm(translation) < tolerance_m and np.linalg.norm(rotation) < 10 * tolerance_m:
                return self.angles
        raise ValueError(f"end-effector position {np.round(target.position, 3).tolist()} m is out of reach")

    def _aim(self, target: Pose) -> None:
        x, y, z, w = target.quaternion
        rotation = mink.SO3(np.array([w, x, y, z]))
        self._frame.set_target(mink.SE3.from_rotation_and_translation(rotation, target.position))
