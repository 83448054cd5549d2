"""A policy drives the simulated arm through the real controller, in simulated time and without DDS.

What the graph's processes do is done here in one: images at the rendered size, the policy's own
preprocessing, chunks that arrive after a latency, the controller's tick at its rate.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np

from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.control import Controller
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.policy import Policy
from dream_vla_ros.robot_state import RobotState
from dream_vla_ros.sim.appearance import MODEST_VARIATION, Variation
from dream_vla_ros.sim.simulation import TabletopSim
from dream_vla_ros.sim.tasks import Task

# Any moment will do; zero would read as a clock that was never set.
_BEGIN_NS = 1_000_000_000
# The goal has to hold this long, so that a block that is dropped or a tower that falls does not count.
_HOLD_S = 1.0


@dataclass(frozen=True)
class Trial:
    """One try.

    :param task: What success is judged by.
    :param instruction: What the policy was told.
    :param success: Whether the goal held for a second within the time limit.
    :param time_s: Simulated time it took, or the limit.
    :param touched: Colours of other blocks that were moved or lifted by more than 2 cm.
    """

    task: Task
    seed: int
    instruction: str
    success: bool
    time_s: float
    touched: tuple[str, ...] = ()


class ControlledTabletop:
    """Tries a policy on the simulated tabletop.

    :param embodiment: The robot, as in the graph.
    :param policy: Used until the end; not closed.
    :param latency_s: From capture to the chunk's arrival at the controller.
    :param execute_s: Time of a chunk that is executed before the next is predicted.
    :param camera_pixels: Side of the rendered images.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        policy: Policy[Observation],
        *,
        latency_s: float = 0.1,
        execute_s: float | None = None,
        num_blocks: int = 4,
        camera_pixels: int = 224,
        variation: Variation = MODEST_VARIATION,
    ) -> None:
        action = embodiment.action
        self._embodiment = embodiment
        self._policy = policy
        self._latency_s = latency_s
        self._execute_s = execute_s or action.chunk_size * action.period_s / 2.0
        self._tick_s = 1.0 / embodiment.timing.control_rate
        self._sim = TabletopSim(
            num_blocks=num_blocks, image_size=(camera_pixels, camera_pixels), variation=variation
        )

    def close(self) -> None:
        """Free the graphics context."""
        self._sim.close()

    @property
    def sim(self) -> TabletopSim:
        """The simulation, for those who may know what a policy may not."""
        return self._sim

    def run(self, task: Task, seed: int, instruction: str | None = None, scene: Task | None = None) -> Trial:
        """Try once.

        :param task: Judges success.
        :param seed: Of the scene.
        :param instruction: Other words than the task's standard ones.
        :param scene: Another task to make the scene for.
        :raises ValueError: If the scene has not the blocks that the task speaks of.
        """
        words = task.instruction if instruction is None else instruction
        rng = np.random.default_rng(seed)
        start = self._sim.reset((scene or task).draw_layout(self._sim.num_blocks, rng), rng)
        if missing := set(task.goal.blocks) - set(start.blocks):
            raise ValueError(f"the scene of seed {seed} has no {', '.join(sorted(missing))} block")
        self._policy.reset()
        goal_id = uuid.UUID(int=seed + 1).bytes
        controller = Controller(self._embodiment)
        waiting: tuple[int, ActionChunk] | None = None
        due_s, held_s, chunks = 0.0, 0.0, 0
        while self._sim.time_s < task.time_limit_s:
            now_ns = _BEGIN_NS + round(self._sim.time_s * 1e9)
            controller.heartbeat(True, goal_id, now_ns)
            if waiting is None and self._sim.time_s >= due_s - 1e-9:
                chunks += 1
                waiting = (
                    now_ns + round(self._latency_s * 1e9),
                    self._predict(words, goal_id, chunks, now_ns),
                )
                due_s = self._sim.time_s + self._execute_s
            if waiting is not None and now_ns >= waiting[0]:
                controller.take_chunk(waiting[1], now_ns)
                waiting = None
            command = controller.tick(now_ns, now_ns, self._state(now_ns))
            if command.send and command.target is not None:
                gripper = self._sim.gripper_target if command.gripper is None else command.gripper
                self._sim.set_target(command.target, gripper)
            self._sim.step(self._tick_s)
            now = self._sim.state()
            held_s = held_s + self._tick_s if task.goal.reached(start, now) else 0.0
            if held_s >= _HOLD_S:
                break
        touched = tuple(
            colour
            for colour, pose in self._sim.block_poses().items()
            if colour not in task.goal.blocks
            and np.linalg.norm(pose.position - start.blocks[colour].position) > 0.02
        )
        return Trial(task, seed, words, held_s >= _HOLD_S, self._sim.time_s, touched)

    def _predict(self, words: str, goal_id: bytes, number: int, now_ns: int) -> ActionChunk:
        cameras = [camera.name for camera in self._embodiment.cameras]
        images = {name: self._sim.render(name) for name in cameras}
        seen = Observation(images, dict.fromkeys(cameras, now_ns), self._state(now_ns), words)
        result = self._policy.infer(seen)
        motion: Any = result.motion
        return ActionChunk(
            motion.translation, motion.rotation, motion.gripper, result.period_s, now_ns, goal_id, number
        )

    def _state(self, now_ns: int) -> RobotState:
        return RobotState(
            now_ns,
            now_ns,
            self._sim.ee_pose(),
            self._sim.joint_positions(),
            now_ns,
            self._sim.gripper_opening(),
        )
