"""Expert episodes as fast as the machine goes: the raw material of training data.

An episode is recorded as a policy would have lived it: what it saw before each action, what the expert would
do from there undisturbed, and what was really carried out. Kicks make the difference: they push the arm off
the expert's way, so that the data show how to recover.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.sim.environment import Observation, TabletopEnv
from dream_vla_ros.sim.expert import PERIOD_S, plan
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import Task

# Still steps kept at the end: they teach to hold when all is done.
_HOLD_STEPS = 6

Driver = Callable[[Observation], Array]
"""What moves the arm in the expert's stead: from what it sees to its next actions (steps, 7)."""


@dataclass(frozen=True)
class RecoveryNoise:
    """Random kicks while the expert works.

    :param probability: Share of episodes with kicks.
    :param max_kicks: Most kicks in one episode; at least one where there are any.
    :param max_steps: Most actions a kick lasts.
    :param translation_m: Length of a kick's motion per action, at most.
    :param rotation_rad: Its rotation per action, at most.
    :param gripper: Share of kicks that also command a random gripper opening.
    :param within_steps: Kicks begin within this many first steps.
    """

    probability: float = 0.7
    max_kicks: int = 2
    max_steps: int = 3
    translation_m: float = 0.03
    rotation_rad: float = 0.15
    gripper: float = 0.2
    within_steps: int = 20

    def __post_init__(self) -> None:
        for name in ("probability", "gripper"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"recovery noise {name} is {getattr(self, name)}, not 0 to 1")

    def draw(self, rng: np.random.Generator) -> dict[int, Array]:
        """Draw the kicks of one episode.

        :returns: Actions (7,) to carry out instead of the expert's, by step; a gripper of NaN keeps its own.
        """
        kicks: dict[int, Array] = {}
        if rng.random() >= self.probability:
            return kicks
        for _ in range(rng.integers(1, self.max_kicks + 1)):
            begin = int(rng.integers(0, self.within_steps))
            translation = _random_direction(rng) * rng.uniform(0.3, 1.0) * self.translation_m
            rotation = _random_direction(rng) * rng.uniform(0.0, 1.0) * self.rotation_rad
            gripper = float(rng.integers(0, 2)) if rng.random() < self.gripper else np.nan
            for step in range(begin, begin + int(rng.integers(1, self.max_steps + 1))):
                kicks[step] = np.array([*translation, *rotation, gripper])
        return kicks


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode of T steps; row t is the moment before action t.

    :param task: What was to be done.
    :param seed: Seed of layout, looks and kicks.
    :param instruction: The words.
    :param images: (T, height, width, 3) uint8 RGB by camera.
    :param end_effector: (T, 7) measured pose of ``ee_link``: position [m], quaternion x, y, z, w.
    :param gripper: (T,) measured opening, 1 = open, 0 = closed.
    :param joints: (T, 8) measured joint positions, arm then fingers [rad, m].
    :param blocks: Measured pose of each block (T, 7) by colour.
    :param chunks: (T, chunk, 7) what the expert would do undisturbed from here on.
    :param actions: (T, 7) what was carried out, kicks included.
    :param kicked: (T,) whether a kick replaced the expert's action.
    :param success: Whether the goal held at the end.
    :param period_s: Time from one row to the next.
    """

    task: Task
    seed: int
    instruction: str
    images: dict[str, np.ndarray]
    end_effector: Array
    gripper: Array
    joints: Array
    blocks: dict[str, Array]
    chunks: Array
    actions: Array
    kicked: np.ndarray
    success: bool
    period_s: float = PERIOD_S

    def __len__(self) -> int:
        return len(self.actions)


def run_episode(
    env: TabletopEnv,
    task: Task,
    seed: int,
    *,
    noise: RecoveryNoise | None = None,
    chunk_size: int = 8,
    vary_words: bool = False,
    driver: Driver | None = None,
) -> Episode:
    """Let the expert carry out one task, planning anew at every step.

    :param env: At the expert's period, 0.2 s.
    :param seed: Decides layout, looks, kicks and words; the same seed gives the same arrays.
    :param noise: Kicks; none by default.
    :param chunk_size: Length of the recorded chunks.
    :param vary_words: Draw the instruction from all known ways to say it instead of the standard one.
    :param driver: Moves the arm, while the recorded chunks are still what the expert would do from there:
        data of a policy's own mistakes and of the way out of them (DAgger, Ross et al. 2011).
    """
    if abs(env.period_s - PERIOD_S) > 1e-9:
        raise ValueError(f"the expert acts every {PERIOD_S} s, not every {env.period_s} s")
    rng = np.random.default_rng([seed, 1])
    words = str(rng.choice(task.instructions())) if vary_words else task.instruction
    kicks = noise.draw(rng) if noise is not None else {}
    observation = env.reset(task, seed, words)
    recorder = _Recorder()
    still = 0
    last_kick = max(kicks, default=-1)
    ahead: list[Array] = []
    for step in range(round(task.time_limit_s / PERIOD_S)):
        state = env.sim.state()
        chunk = plan(task.goal, env.start, state, chunk_size).array()
        if driver is not None:
            ahead = ahead or list(driver(observation))
        action = ahead.pop(0) if ahead else chunk[0]
        if step in kicks:
            action = np.where(np.isnan(kicks[step]), action, kicks[step])
        recorder.add(observation, state, chunk, action, step in kicks)
        still = still + 1 if not chunk[:, :6].any() else 0
        if still > _HOLD_STEPS and step >= last_kick:
            break
        env.advance(action)
        observation = env.observe()
    return recorder.episode(task, seed, words, env.success())


def episodes(
    env: TabletopEnv,
    tasks: Iterable[Task],
    *,
    first_seed: int,
    noise: RecoveryNoise | None = None,
    chunk_size: int = 8,
    vary_words: bool = False,
) -> Iterator[Episode]:
    """Run one episode of each task, with seeds counting up.

    :param tasks: May be endless.
    """
    for seed, task in enumerate(tasks, start=first_seed):
        yield run_episode(env, task, seed, noise=noise, chunk_size=chunk_size, vary_words=vary_words)


class _Recorder:
    def __init__(self) -> None:
        self._rows: list[tuple[Observation, TableState, Array, Array, bool]] = []

    def add(
        self, observation: Observation, state: TableState, chunk: Array, action: Array, kicked: bool
    ) -> None:
        self._rows.append((observation, state, chunk, action, kicked))

    def episode(self, task: Task, seed: int, instruction: str, success: bool) -> Episode:
        observations = [row[0] for row in self._rows]
        states = [row[1] for row in self._rows]
        return Episode(
            task=task,
            seed=seed,
            instruction=instruction,
            images={
                camera: np.stack([observation.images[camera] for observation in observations])
                for camera in observations[0].images
            },
            end_effector=np.stack([_numbers(state.end_effector) for state in states]),
            gripper=np.array([state.gripper for state in states]),
            joints=np.array([list(observation.joint_positions.values()) for observation in observations]),
            blocks={
                colour: np.stack([_numbers(state.blocks[colour]) for state in states])
                for colour in states[0].blocks
            },
            chunks=np.stack([row[2] for row in self._rows]),
            actions=np.stack([row[3] for row in self._rows]),
            kicked=np.array([row[4] for row in self._rows]),
            success=success,
        )


def _numbers(pose: Pose) -> Array:
    return np.concatenate([pose.position, pose.quaternion])


def _random_direction(rng: np.random.Generator) -> Array:
    direction = rng.normal(size=3)
    return direction / np.linalg.norm(direction)
