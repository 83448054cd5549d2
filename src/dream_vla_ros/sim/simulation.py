"""The simulated tabletop: reset it to a layout, give the arm targets, step it, look at it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import mujoco
import numpy as np

from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.sim.appearance import Variation, dress
from dream_vla_ros.sim.arm import (
    ARM_JOINT_NAMES,
    EE_LINK,
    FINGER_JOINT_NAMES,
    FINGER_SPEED_M_S,
    HOME_ANGLES,
    MAX_FINGER_TRAVEL_M,
)
from dream_vla_ros.sim.cameras import CAMERAS, OPTICAL_FROM_MUJOCO, intrinsics
from dream_vla_ros.sim.inverse_kinematics import InverseKinematics
from dream_vla_ros.sim.layout import Layout
from dream_vla_ros.sim.scene import PHYSICS_TIMESTEP_S, block_body, build_scene_spec
from dream_vla_ros.sim.state import TableState

CONTROL_PERIOD_S = 0.02
_SUBSTEPS = round(CONTROL_PERIOD_S / PHYSICS_TIMESTEP_S)

# Where targets may lie: around what the arm reaches with the gripper down. The floor keeps the finger tips
# (12 mm beyond the end-effector point) off the table.
WORKSPACE_LOW_M: Array = np.array([0.10, -0.35, 0.015])
WORKSPACE_HIGH_M: Array = np.array([0.50, 0.35, 0.40])
# A target farther than this from the measured end effector is a mistake, not a step of a motion: the leash of
# a controller is shorter.
MAX_TARGET_DISTANCE_M = 0.15
MAX_TARGET_ANGLE_RAD = 1.0


class SimulationError(RuntimeError):
    """The physics failed numerically; only a reset helps."""


class TargetStatus(Enum):
    """What became of a target pose."""

    ACCEPTED = "accepted"
    CLAMPED = "clamped"
    REFUSED = "refused"


@dataclass(frozen=True)
class TargetReport:
    """What became of a target pose, and why.

    :param status: REFUSED leaves the previous target in force.
    :param reason: Empty where it was accepted as given.
    """

    status: TargetStatus
    reason: str = ""


class TabletopSim:
    """A WidowX-like arm over a table with blocks.

    Render from one thread only, the one that renders first: the graphics context belongs to it.

    :param num_blocks: Blocks on the table, 2 to 5.
    :param image_size: Height and width of the rendered images [pixels].
    :param variation: How far looks may differ between resets.
    :param shadows: Render shadows: nicer pictures, forty times slower.
    """

    def __init__(
        self,
        *,
        num_blocks: int = 4,
        image_size: tuple[int, int] = (112, 112),
        variation: Variation | None = None,
        shadows: bool = False,
    ) -> None:
        if min(image_size) < 1:
            raise ValueError(f"image size {image_size} is not positive")
        self.image_size = image_size
        self.num_blocks = num_blocks
        self._variation = variation or Variation()
        self._shadows = shadows
        self._model = build_scene_spec(
            num_blocks=num_blocks, image_size=image_size, shadows=shadows
        ).compile()
        self._data = mujoco.MjData(self._model)
        self._ik = InverseKinematics()
        self._renderer: mujoco.Renderer | None = None
        self._arm = np.array([self._model.joint(name).qposadr[0] for name in ARM_JOINT_NAMES])
        self._fingers = np.array([self._model.joint(name).qposadr[0] for name in FINGER_JOINT_NAMES])
        self._blocks = [self._model.body(block_body(index)).id for index in range(num_blocks)]
        self._site = self._model.site(EE_LINK).id
        self._colours: list[str] = []
        self._target = Pose.identity()
        self._gripper_target = 1.0
        self._finger_command = MAX_FINGER_TRAVEL_M

    @property
    def time_s(self) -> float:
        """Simulated time since the reset."""
        return float(self._data.time)

    @property
    def target(self) -> Pose:
        """Target pose in force, in ``base_link``."""
        return self._target

    @property
    def gripper_target(self) -> float:
        """Gripper opening in force as a target, 1 = open, 0 = closed."""
        return self._gripper_target

    def reset(self, layout: Layout, rng: np.random.Generator) -> TableState:
        """Put the arm and the blocks where a layout has them, everything at rest.

        :param layout: With as many blocks as this table has.
        :param rng: Draws the looks.
        :raises ValueError: If the number of blocks differs or the arm cannot reach its start.
        """
        if len(layout.blocks) != self.num_blocks:
            raise ValueError(f"the layout has {len(layout.blocks)} blocks, the table {self.num_blocks}")
        self._ik.reset(HOME_ANGLES)
        angles = self._ik.solve(layout.end_effector)
        self._colours = list(layout.blocks)
        dress(self._model, self._colours, self._variation, rng)
        data = self._data
        mujoco.mj_resetData(self._model, data)
        data.qpos[self._arm] = angles
        data.ctrl[: len(angles)] = angles
        data.qpos[self._fingers] = MAX_FINGER_TRAVEL_M
        self._finger_command = MAX_FINGER_TRAVEL_M
        data.ctrl[len(angles)] = MAX_FINGER_TRAVEL_M
        for body, pose in zip(self._blocks, layout.blocks.values(), strict=True):
            start = self._model.body(body).jntadr[0]
            address = self._model.jnt_qposadr[start]
            x, y, z, w = pose.quaternion
            data.qpos[address : address + 7] = [*pose.position, w, x, y, z]
        mujoco.mj_kinematics(self._model, data)
        self._target = self.ee_pose()
        self._gripper_target = 1.0
        return self.state()

    def set_target(self, target: Pose, gripper: float) -> TargetReport:
        """Give the arm a pose to go to and the gripper an opening.

        :param target: Pose of ``ee_link`` in ``base_link``.
        :param gripper: 1 = open, 0 = closed; clipped to that range.
        """
        if not np.isfinite(gripper):
            return TargetReport(TargetStatus.REFUSED, f"gripper target is {gripper}")
        report = self.set_pose_target(target)
        if report.status is not TargetStatus.REFUSED:
            self.set_gripper_target(gripper)
        return report

    def set_gripper_target(self, opening: float) -> None:
        """Give the gripper an opening.

        :param opening: 1 = open, 0 = closed; clipped to that range.
        :raises ValueError: If it is not finite.
        """
        if not np.isfinite(opening):
            raise ValueError(f"gripper target is {opening}")
        self._gripper_target = min(max(float(opening), 0.0), 1.0)

    def set_pose_target(self, target: Pose) -> TargetReport:
        """Give the arm a pose to go to.

        :param target: Pose of ``ee_link`` in ``base_link``.
        """
        translation, rotation = self.ee_pose().motion_to(target)
        distance, angle = float(np.linalg.norm(translation)), float(np.linalg.norm(rotation))
        if distance > MAX_TARGET_DISTANCE_M or angle > MAX_TARGET_ANGLE_RAD:
            return TargetReport(
                TargetStatus.REFUSED,
                f"target is {distance:.3f} m and {angle:.2f} rad from the end effector, "
                f"more than {MAX_TARGET_DISTANCE_M} m or {MAX_TARGET_ANGLE_RAD} rad",
            )
        inside = np.clip(target.position, WORKSPACE_LOW_M, WORKSPACE_HIGH_M)
        self._target = Pose(inside, target.quaternion)
        if np.any(inside != target.position):
            position = np.round(target.position, 3).tolist()
            return TargetReport(TargetStatus.CLAMPED, f"target {position} m is outside the workspace")
        return TargetReport(TargetStatus.ACCEPTED)

    def hold(self) -> None:
        """Make the pose the joints are commanded to the target, so that the arm stops."""
        self._target = self._ik.forward()

    def unreached(self) -> tuple[float, float]:
        """Return how far the commanded joints are from the target [m] and [rad].

        It stays large where the target is out of reach.
        """
        translation, rotation = self._ik.forward().motion_to(self._target)
        return float(np.linalg.norm(translation)), float(np.linalg.norm(rotation))

    def step(self, duration_s: float = CONTROL_PERIOD_S) -> None:
        """Advance physics, steering towards the target.

        :param duration_s: A multiple of the control period, 0.02 s.
        :raises ValueError: If it is not.
        :raises SimulationError: If the physics fails numerically.
        """
        ticks = round(duration_s / CONTROL_PERIOD_S) if np.isfinite(duration_s) else 0
        if ticks < 1 or abs(ticks * CONTROL_PERIOD_S - duration_s) > 1e-9:
            raise ValueError(f"duration {duration_s} s is not a positive multiple of {CONTROL_PERIOD_S} s")
        data = self._data
        reach = FINGER_SPEED_M_S * CONTROL_PERIOD_S
        for _ in range(ticks):
            angles = self._ik.step(self._target, CONTROL_PERIOD_S)
            data.ctrl[: len(angles)] = angles
            wanted = self._gripper_target * MAX_FINGER_TRAVEL_M
            self._finger_command += float(np.clip(wanted - self._finger_command, -reach, reach))
            data.ctrl[len(angles)] = self._finger_command
            mujoco.mj_step(self._model, data, _SUBSTEPS)
        if not np.isfinite(data.qpos).all() or data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number:
            raise SimulationError(f"the physics diverged at {self.time_s:.2f} s; reset the simulation")
        # A step leaves the frames where they were at its beginning.
        mujoco.mj_kinematics(self._model, data)

    def state(self) -> TableState:
        """Return the measured state."""
        return TableState(self.time_s, self.ee_pose(), self.gripper_opening(), self.block_poses())

    def ee_pose(self) -> Pose:
        """Return the measured pose of ``ee_link`` in ``base_link``."""
        return Pose(self._data.site_xpos[self._site], _quaternion(self._data.site_xmat[self._site]))

    def joint_positions(self) -> dict[str, float]:
        """Return the measured joint positions [rad; m for the fingers] by name."""
        qpos = self._data.qpos
        arm = zip(ARM_JOINT_NAMES, qpos[self._arm], strict=True)
        fingers = zip(FINGER_JOINT_NAMES, qpos[self._fingers], strict=True)
        return {name: float(value) for name, value in (*arm, *fingers)}

    def joint_velocities(self) -> dict[str, float]:
        """Return the measured joint speeds [rad/s; m/s for the fingers] by name."""
        names = (*ARM_JOINT_NAMES, *FINGER_JOINT_NAMES)
        return {name: float(self._data.joint(name).qvel[0]) for name in names}

    def gripper_opening(self) -> float:
        """Return the measured opening, 1 = open, 0 = closed."""
        travel = float(np.mean(self._data.qpos[self._fingers]))
        return min(max(travel / MAX_FINGER_TRAVEL_M, 0.0), 1.0)

    def block_poses(self) -> Mapping[str, Pose]:
        """Return each block's pose in ``base_link`` by colour."""
        poses = {}
        for colour, body in zip(self._colours, self._blocks, strict=True):
            w, x, y, z = self._data.xquat[body]
            poses[colour] = Pose(self._data.xpos[body], np.array([x, y, z, w]))
        return poses

    def render(self, camera: str) -> np.ndarray:
        """Render what a camera sees now.

        :param camera: ``third_person`` or ``wrist``.
        :returns: (height, width, 3) uint8 RGB.
        :raises RuntimeError: If there is no OpenGL to render with.
        """
        self._check_camera(camera)
        if self._renderer is None:
            self._renderer = self._make_renderer()
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera)
        return self._renderer.render()

    def _make_renderer(self) -> mujoco.Renderer:
        try:
            renderer = mujoco.Renderer(self._model, *self.image_size)
        except Exception as error:  # the class differs between OpenGL platforms
            raise RuntimeError(
                f"no OpenGL with MUJOCO_GL={os.environ.get('MUJOCO_GL')}: {error}. Without a display, "
                "MUJOCO_GL=egl needs the Debian packages libegl1, libegl-mesa0 and libgl1-mesa-dri"
            ) from error
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[flag] = self._shadows
        return renderer

    def camera_intrinsics(self, camera: str) -> Array:
        """Return the pinhole matrix (3, 3) of a camera at the rendered size."""
        self._check_camera(camera)
        return intrinsics(float(self._model.camera(camera).fovy[0]), self.image_size)

    def camera_pose(self, camera: str) -> Pose:
        """Return the pose of a camera's optical frame (z forward, x right, y down) in ``base_link``."""
        self._check_camera(camera)
        mujoco.mj_camlight(self._model, self._data)
        view = self._data.camera(camera)
        rotation = view.xmat.reshape(3, 3) @ OPTICAL_FROM_MUJOCO
        return Pose(view.xpos, _quaternion(rotation.ravel()))

    def close(self) -> None:
        """Free the graphics context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    @staticmethod
    def _check_camera(camera: str) -> None:
        if camera not in CAMERAS:
            raise ValueError(f"no camera '{camera}'; there are {', '.join(CAMERAS)}")


def _quaternion(matrix: Array) -> Array:
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, matrix)
    w, x, y, z = quaternion
    return np.array([x, y, z, w])
