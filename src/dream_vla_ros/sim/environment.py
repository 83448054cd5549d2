"""The tabletop as an environment: observations out, one action per period in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.sim.appearance import Variation
from dream_vla_ros.sim.cameras import CAMERAS
from dream_vla_ros.sim.simulation import CONTROL_PERIOD_S, TabletopSim
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import Task

# Farthest the integrated target may lead the measured pose, as in the controller.
_LEASH_M = 0.05
_LEASH_RAD = 0.35


@dataclass(frozen=True, eq=False)
class Observation:
    """What a policy may see.

    :param images: (height, width, 3) uint8 RGB by camera name.
    :param end_effector: Measured pose of ``ee_link`` in ``base_link``.
    :param gripper: Measured opening, 1 = open, 0 = closed.
    :param joint_positions: Measured joint positions [rad; m for the fingers] by name.
    :param instruction: The task in words.
    :param time_s: Simulated time since the reset.
    """

    images: dict[str, np.ndarray]
    end_effector: Pose
    gripper: float
    joint_positions: dict[str, float]
    instruction: str
    time_s: float


@dataclass(frozen=True, eq=False)
class StepResult:
    """What came of one action.

    :param success: Whether the task's goal holds now.
    :param timed_out: Whether the task's time limit has passed.
    """

    observation: Observation
    success: bool
    timed_out: bool


class TabletopEnv:
    """The simulated tabletop driven by one end-effector action per period.

    Actions are composed onto the previous target and spread evenly over the period, as the controller does.

    :param period_s: Time one action takes, a multiple of 0.02 s.
    :param render: Whether observations have images.
    :param shadows: Render shadows: nicer pictures, forty times slower.
    """

    def __init__(
        self,
        *,
        num_blocks: int = 4,
        image_size: tuple[int, int] = (112, 112),
        variation: Variation | None = None,
        period_s: float = 0.2,
        render: bool = True,
        shadows: bool = False,
    ) -> None:
        self._ticks = round(period_s / CONTROL_PERIOD_S)
        if self._ticks < 1 or abs(self._ticks * CONTROL_PERIOD_S - period_s) > 1e-9:
            raise ValueError(f"period {period_s} s is not a positive multiple of {CONTROL_PERIOD_S} s")
        self.sim = TabletopSim(
            num_blocks=num_blocks, image_size=image_size, variation=variation, shadows=shadows
        )
        self.period_s = period_s
        self._render = render
        self._task: Task | None = None
        self._start: TableState | None = None
        self._instruction = ""

    @property
    def start(self) -> TableState:
        """The table when the episode began.

        :raises RuntimeError: Before the first reset.
        """
        return self._began()[1]

    def reset(self, task: Task, seed: int, instruction: str | None = None) -> Observation:
        """Begin an episode.

        :param seed: Decides layout and looks.
        :param instruction: Other words for the task; its standard ones by default.
        """
        rng = np.random.default_rng(seed)
        self._start = self.sim.reset(task.draw_layout(self.sim.num_blocks, rng), rng)
        self._task = task
        self._instruction = task.instruction if instruction is None else instruction
        return self.observe()

    def observe(self) -> Observation:
        """Look at the table as it is now."""
        images = {camera: self.sim.render(camera) for camera in CAMERAS} if self._render else {}
        return Observation(
            images,
            self.sim.ee_pose(),
            self.sim.gripper_opening(),
            self.sim.joint_positions(),
            self._instruction,
            self.sim.time_s,
        )

    def step(self, action: ArrayLike) -> StepResult:
        """Carry out one action.

        :param action: (7,) translation [m] and rotation vector [rad] over the period in base axes, then the
            gripper, 1 = open, 0 = closed.
        :raises ValueError: If it has another shape or is not finite.
        """
        task, start = self._began()
        self.advance(action)
        now = self.sim.state()
        return StepResult(self.observe(), task.goal.reached(start, now), now.time_s >= task.time_limit_s)

    def advance(self, action: ArrayLike) -> TableState:
        """Carry out one action without looking; as ``step`` otherwise."""
        values = np.asarray(action, dtype=np.float64)
        if values.shape != (7,) or not np.all(np.isfinite(values)):
            raise ValueError(f"action {values.tolist()} is not seven finite numbers")
        begin = self._leashed(self.sim.target)
        for tick in range(1, self._ticks + 1):
            share = tick / self._ticks
            self.sim.set_target(begin.moved(values[:3] * share, values[3:6] * share), float(values[6]))
            self.sim.step()
        return self.sim.state()

    def success(self) -> bool:
        """Say whether the task's goal holds now."""
        task, start = self._began()
        return task.goal.reached(start, self.sim.state())

    def close(self) -> None:
        """Free the graphics context."""
        self.sim.close()

    def _began(self) -> tuple[Task, TableState]:
        if self._task is None or self._start is None:
            raise RuntimeError("reset the environment first")
        return self._task, self._start

    def _leashed(self, target: Pose) -> Pose:
        measured = self.sim.ee_pose()
        translation, rotation = measured.motion_to(target)
        return measured.moved(_shorten(translation, _LEASH_M), _shorten(rotation, _LEASH_RAD))


def _shorten(vector: Array, longest: float) -> Array:
    length = float(np.linalg.norm(vector))
    return vector * (longest / length) if length > longest else vector
