"""The simulated tabletop as an environment to try policies in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dream_vla_ros.control import Command
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.images import RGBImage
from dream_vla_ros.robot_state import RobotState
from dream_vla_ros.sim.appearance import MODEST_VARIATION, Variation
from dream_vla_ros.sim.simulation import TabletopSim
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import Task
from dream_vla_ros.training.environment import ASKED, Ending, Moment

SCENE = "scene"
"""The goal that the scene was made for, where the words ask for another."""
# Any moment will do; zero would read as a clock that was never set.
_BEGIN_NS = 1_000_000_000
_TOUCHED_M = 0.02


@dataclass(frozen=True)
class Scenario:
    """A task on the tabletop.

    :param task: What the words ask for.
    :param scene: What the table is laid out for; another task only to see which of the two is obeyed.
    """

    task: Task
    scene: Task


class TabletopEnvironment:
    """Drives the simulated arm as its node does.

    :param embodiment: The robot, as in the graph.
    :param camera_pixels: Side of the rendered images.
    :param variation: How far looks differ between episodes.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        *,
        num_blocks: int = 4,
        camera_pixels: int = 224,
        variation: Variation = MODEST_VARIATION,
    ) -> None:
        self._cameras = [camera.name for camera in embodiment.cameras]
        self._period_s = 1.0 / embodiment.timing.control_rate
        self.sim = TabletopSim(
            num_blocks=num_blocks, image_size=(camera_pixels, camera_pixels), variation=variation
        )
        self._scenario: Scenario | None = None
        self._start: TableState | None = None

    @property
    def period_s(self) -> float:
        """Time one step takes."""
        return self._period_s

    def reset(self, task: Scenario, seed: int) -> Moment:
        """Begin an episode.

        :raises ValueError: If there are fewer blocks than both tasks speak of, or no room for them.
        """
        rng = np.random.default_rng(seed)
        layout = task.scene.draw_layout(self.sim.num_blocks, rng, also=task.task)
        start = self.sim.reset(layout, rng)
        self._scenario, self._start = task, start
        return self._moment()

    def step(self, command: Command) -> Moment:
        """Let one period pass."""
        if command.send and command.target is not None:
            gripper = self.sim.gripper_target if command.gripper is None else command.gripper
            self.sim.set_target(command.target, gripper)
        self.sim.step(self._period_s)
        return self._moment()

    def look(self) -> Mapping[str, RGBImage]:
        """Render all cameras."""
        return {name: self.sim.render(name) for name in self._cameras}

    def end(self) -> Ending:
        """Name the blocks nobody spoke of that were moved or lifted by more than 2 cm."""
        scenario, start = self._begun()
        touched = [
            colour
            for colour, pose in self.sim.block_poses().items()
            if colour not in scenario.task.goal.blocks
            and np.linalg.norm(pose.position - start.blocks[colour].position) > _TOUCHED_M
        ]
        return Ending({"touched": touched})

    def close(self) -> None:
        """Free the graphics context."""
        self.sim.close()

    def _begun(self) -> tuple[Scenario, TableState]:
        if self._scenario is None or self._start is None:
            raise RuntimeError("reset the environment first")
        return self._scenario, self._start

    def _moment(self) -> Moment:
        scenario, start = self._begun()
        sim, now = self.sim, self.sim.state()
        stamp_ns = _BEGIN_NS + round(sim.time_s * 1e9)
        state = RobotState(stamp_ns, stamp_ns, now.end_effector, sim.joint_positions(), stamp_ns, now.gripper)
        goals = {ASKED: scenario.task.goal}
        if scenario.scene.goal != scenario.task.goal:
            goals[SCENE] = scenario.scene.goal
        return Moment(
            sim.time_s, state, frozenset(name for name, goal in goals.items() if goal.reached(start, now))
        )
