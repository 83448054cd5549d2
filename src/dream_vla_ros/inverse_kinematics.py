"""Differential inverse kinematics of a serial chain described by a URDF."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import mink
import mujoco
import numpy as np

from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.kinematics import ForwardKinematics, KinematicsError

_TIP = "tip"
# Half a radian of rotation error weighs as much as 15 cm of position error.
_POSITION_COST = 1.0
_ORIENTATION_COST = 0.3
# Keeps joints slow where the Jacobian loses rank (arm stretched); too small to be felt elsewhere.
_LEVENBERG_MARQUARDT = 1e-3
_JOINT_DAMPING = 1e-6
# A resting arm may lean on a limit by as much as its encoders and calibration are off.
_BEYOND_LIMIT = 0.05


class InverseKinematics:
    """Joint positions that follow end-effector poses within limits of position and speed.

    Each step starts from the positions of the step before, not from measured ones, so the arm's lag does not
    feed back into its commands.

    :param chain: The chain, every joint of which moves by itself.
    :param joint_speed: Largest speed of any joint [rad/s or m/s], beside the description's own limits.
    :raises KinematicsError: If a joint has no limits in the description that it must have, or mimics another.
    """

    def __init__(self, chain: ForwardKinematics, joint_speed: float) -> None:
        self.chain = chain
        joints = [stage.joint for stage in chain.stages]
        for joint in joints:
            if joint.source != joint.name:
                raise KinematicsError(f"joint '{joint.name}' mimics '{joint.source}' within the chain")
            if joint.kind != "continuous" and not -math.inf < joint.lower < joint.upper < math.inf:
                raise KinematicsError(
                    f"joint '{joint.name}' has the limits {joint.lower} to {joint.upper} in the robot "
                    "description; give it real ones"
                )
        if not joints:
            raise KinematicsError(f"nothing moves between link '{chain.base}' and link '{chain.tip}'")
        self._lower = np.array([joint.lower for joint in joints])
        self._upper = np.array([joint.upper for joint in joints])
        model = _build_model(chain)
        self._configuration = mink.Configuration(model)
        self._task = mink.FrameTask(
            _TIP, "site", _POSITION_COST, _ORIENTATION_COST, lm_damping=_LEVENBERG_MARQUARDT
        )
        speeds = {joint.name: min(joint.velocity, joint_speed) for joint in joints}
        self._limits = [mink.ConfigurationLimit(model), mink.VelocityLimit(model, speeds)]

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Joints from base to tip."""
        return self.chain.joint_names

    @property
    def positions(self) -> dict[str, float]:
        """Where the joints were led so far [rad or m]."""
        return dict(zip(self.joint_names, self._configuration.q.tolist(), strict=True))

    def begin(self, measured: Mapping[str, float]) -> None:
        """Start from measured joint positions.

        :raises KinematicsError: If a joint is missing, not finite or well beyond its limits.
        """
        start = _in_order(measured, self.joint_names)
        for name, value, lower, upper in zip(self.joint_names, start, self._lower, self._upper, strict=True):
            if not lower - _BEYOND_LIMIT <= value <= upper + _BEYOND_LIMIT:
                raise KinematicsError(
                    f"joint '{name}' is at {value:.3f}, beyond its limits {lower:.3f} to {upper:.3f}: "
                    "the robot description is of another arm, or the arm is not calibrated"
                )
        self._configuration.update(np.clip(start, self._lower, self._upper))

    def pose(self) -> Pose:
        """Return where the tip was led so far, in the base."""
        return self.chain.pose(self.positions)

    def step(self, target: Pose, duration_s: float) -> dict[str, float]:
        """Move towards a pose.

        :param target: Pose of the tip in the base.
        :param duration_s: Time the motion may take; speed limits hold over it.
        :returns: Joint positions. At a limit or out of reach they stop at the nearest that can be had.
        :raises KinematicsError: If the solver finds nothing.
        """
        x, y, z, w = target.quaternion
        rotation = mink.SO3(np.array([w, x, y, z]))
        self._task.set_target(mink.SE3.from_rotation_and_translation(rotation, target.position))
        try:
            velocity = mink.solve_ik(
                self._configuration,
                [self._task],
                duration_s,
                "daqp",
                damping=_JOINT_DAMPING,
                limits=self._limits,
            )
        except mink.NoSolutionFound as error:
            raise KinematicsError(f"no joint motion leads towards {target.position.tolist()} m") from error
        self._configuration.integrate_inplace(velocity, duration_s)
        return self.positions


def _in_order(positions: Mapping[str, float], names: Sequence[str]) -> Array:
    values = []
    for name in names:
        value = positions.get(name)
        if value is None or not math.isfinite(value):
            raise KinematicsError(f"no position for joint '{name}' of the robot description")
        values.append(value)
    return np.array(values)


def _build_model(chain: ForwardKinematics) -> mujoco.MjModel:
    """Make a model of the chain's motion alone; its masses mean nothing."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    body = spec.worldbody
    for stage in chain.stages:
        joint = stage.joint
        x, y, z, w = Pose.from_matrix(stage.fixed).quaternion
        body = body.add_body(name=joint.child, pos=stage.fixed[:3, 3], quat=[w, x, y, z])
        body.mass, body.inertia, body.explicitinertial = 1.0, [1.0, 1.0, 1.0], True
        slides = joint.kind == "prismatic"
        limited = math.isfinite(joint.lower) and math.isfinite(joint.upper)
        body.add_joint(
            name=joint.name,
            type=mujoco.mjtJoint.mjJNT_SLIDE if slides else mujoco.mjtJoint.mjJNT_HINGE,
            axis=joint.axis,
            limited=mujoco.mjtLimited.mjLIMITED_TRUE if limited else mujoco.mjtLimited.mjLIMITED_FALSE,
            range=[joint.lower, joint.upper] if limited else [0.0, 0.0],
        )
    x, y, z, w = Pose.from_matrix(chain.last).quaternion
    body.add_site(name=_TIP, pos=chain.last[:3, 3], quat=[w, x, y, z])
    return spec.compile()
