"""Where the simulated cameras are, so that commands can be drawn into their images."""

from __future__ import annotations

import numpy as np

from dream_vla_ros.geometry import Pose
from dream_vla_ros.sim.cameras import CAMERA_MOUNTS
from dream_vla_ros.sim.simulation import TabletopSim
from dream_vla_ros.sim.tasks import task_from_instruction

_ANY_TASK = "pick up the red block"


def camera_poses() -> dict[str, tuple[Pose, bool]]:
    """Return the pose of each camera's optical frame, and whether it is mounted on the arm.

    A camera on the arm is given in the end-effector frame, another in the base frame. No topic tells where
    cameras are, so this asks the simulation's own description.
    """
    sim = TabletopSim()
    generator = np.random.default_rng(0)
    sim.reset(task_from_instruction(_ANY_TASK).draw_layout(sim.num_blocks, generator), generator)
    to_end_effector = sim.ee_pose().inverse()
    poses = {}
    for name, mount in CAMERA_MOUNTS.items():
        on_arm = mount.link is not None
        pose = sim.camera_pose(name)
        poses[name] = (to_end_effector.compose(pose) if on_arm else pose, on_arm)
    return poses
