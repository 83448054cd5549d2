"""A trained policy that moves the arm while the expert says what it should have done."""

from __future__ import annotations

from pathlib import Path

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Array
from dream_vla_ros.policy.dream_vla import DreamVLAPolicy
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.settings import ModelSettings
from dream_vla_ros.robot_state import RobotState
from dream_vla_ros.sim.environment import Observation as Seen
from dream_vla_ros.sim.expert import ExpertChunk


class PolicyDriver:
    """Drives episodes of the simulation by a checkpoint's chunks.

    :param policy: Not closed.
    :param embodiment: The robot that the policy drives.
    :param steps: Actions of a chunk that are carried out before the next is predicted; half by default.
    """

    def __init__(self, policy: DreamVLAPolicy, embodiment: Embodiment, steps: int | None = None) -> None:
        self._policy = policy
        self._cameras = [camera.name for camera in embodiment.cameras]
        self._steps = steps or max(embodiment.action.chunk_size // 2, 1)

    @classmethod
    def load(cls, checkpoint: Path, embodiment: Embodiment) -> PolicyDriver:
        """Load a checkpoint, for one thread."""
        return cls(
            DreamVLAPolicy.load(ModelSettings(checkpoint=str(checkpoint), threads=1), embodiment), embodiment
        )

    def __call__(self, seen: Seen) -> Array:
        """Return the next actions (steps, 7), as :meth:`TabletopEnv.step` takes them."""
        stamp_ns = round(seen.time_s * 1e9)
        state = RobotState(
            stamp_ns, stamp_ns, seen.end_effector, seen.joint_positions, stamp_ns, seen.gripper
        )
        images = {name: seen.images[name] for name in self._cameras}
        observation = Observation(images, dict.fromkeys(images, stamp_ns), state, seen.instruction)
        motion = self._policy.infer(observation).motion
        chunk = ExpertChunk(motion.translation, motion.rotation, motion.gripper)
        return chunk.array()[: self._steps]
