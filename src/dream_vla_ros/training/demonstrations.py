"""Expert demonstrations of the simulated tabletop as training samples.

What a camera of the simulation sees goes through the very steps that live images go through, and states and
motions through the embodiment's own writers, so that training and driving cannot drift apart.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.images import Preprocessing, RGBImage, preprocess, rotate_180
from dream_vla_ros.policy.actions import ActionCodec, Motion
from dream_vla_ros.policy.proprio import ProprioWriter
from dream_vla_ros.robot_state import RobotState
from dream_vla_ros.sim.appearance import BYSTANDER_COLOURS, CLOSED_COLOURS, MODEST_VARIATION, Variation
from dream_vla_ros.sim.arm import ARM_JOINT_NAMES, FINGER_JOINT_NAMES
from dream_vla_ros.sim.cameras import CAMERA_MOUNTS
from dream_vla_ros.sim.environment import TabletopEnv
from dream_vla_ros.sim.goals import Lifted, Pushed, Stacked
from dream_vla_ros.sim.imagined import ImaginedTable
from dream_vla_ros.sim.rollout import Driver, Episode, RecoveryNoise, run_episode
from dream_vla_ros.sim.scene import BLOCK_SIZE_M
from dream_vla_ros.sim.simulation import TabletopSim
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import Task, closed_tasks
from dream_vla_ros.training.shards import make_missing
from dream_vla_ros.training.store import Samples, write_shard
from dream_vla_ros.training.tower_tasks import LaidOutTask, next_task, tower_task

BLOCK_LABEL = "blocks"
BLOCK_NUMBERS = 5
"""Of each colour: the block's place relative to the end effector (3) [m, base axes], and cosine and sine of
four times its turn relative to the gripper; NaN where no block has that colour."""
SIGHT_LABEL = "sight"
"""Of each camera and colour: where the block's middle is in the image, right and down as shares of it, and
its depth [m]; then its outline from there as shares of the image: the left, right, upper and lower end, how
far right the upper and the lower end are, and how far down the left and the right end are, which together
tell how the block is turned. Places go beyond 0 to 1 outside the image; all is NaN where no block has that
colour or it is behind the camera."""
_SIGHT_NUMBERS = 11

# Who makes mistakes for ever shows little new.
_OWN_MISTAKES_S = 12.0
# Nearer blocks are not seen as a whole.
_NEAREST_M = 0.01
_CORNERS_M = BLOCK_SIZE_M / 2.0 * np.array(list(itertools.product((-1.0, 1.0), repeat=3)))


@dataclass(frozen=True)
class Recipe:
    """What demonstrations are made of.

    :param episodes: How many.
    :param seed: Seed of the first; they count up.
    :param shares: Weight of lifting, stacking and pushing in the draw of tasks.
    :param towers: Share of the episodes that begin with blocks on others, and have a task that can be done
        there; they have no bystanders.
    :param in_a_row: Episodes that begin each as the one before ended, whatever came of that, where the first
        of them began with towers and something can still be done.
    :param num_blocks: Numbers of blocks on the table, drawn evenly.
    :param bystanders: Share of the episodes in which blocks that the task does not speak of may also have one
        of two colours that no task speaks of.
    :param camera_pixels: Side of the rendered images, as the simulation node publishes them.
    :param noise: Kicks that the expert has to recover from.
    :param variation: How far looks differ between episodes.
    :param episodes_per_shard: Written at once; what is lost when the making is cut short.
    """

    episodes: int
    seed: int = 1_000_000
    shares: tuple[float, float, float] = (0.35, 0.4, 0.25)
    towers: float = 0.0
    in_a_row: int = 1
    num_blocks: tuple[int, ...] = (3, 4)
    bystanders: float = 0.5
    camera_pixels: int = 224
    noise: RecoveryNoise = field(default_factory=RecoveryNoise)
    variation: Variation = MODEST_VARIATION
    episodes_per_shard: int = 25

    def task(self, episode: int, left: TableState | None = None) -> tuple[Task, int]:
        """Draw the task of an episode and the number of blocks on the table.

        :param left: How the episode before left the table, where this one may begin so.
        """
        rng = np.random.default_rng([self.seed + episode, 2])
        kinds = (Lifted, Stacked, Pushed)
        if left is not None and episode % self.in_a_row:
            following = next_task(left, rng, shares=dict(zip(kinds, self.shares, strict=True)))
            if following is not None:
                return following, len(left.blocks)
        if self.towers and rng.random() < self.towers:
            num_blocks = int(rng.choice(self.num_blocks))
            colours = rng.choice(CLOSED_COLOURS, num_blocks, replace=False)
            shares = dict(zip(kinds, self.shares, strict=True))
            return tower_task([str(colour) for colour in colours], rng, shares=shares), num_blocks
        kind = kinds[int(rng.choice(3, p=np.array(self.shares) / sum(self.shares)))]
        known = [task for task in closed_tasks() if isinstance(task.goal, kind)]
        task, num_blocks = known[int(rng.integers(len(known)))], int(rng.choice(self.num_blocks))
        if rng.random() < self.bystanders:
            extra = rng.choice(list(BYSTANDER_COLOURS), 2, replace=False)
            task = replace(task, colours=(*task.colours, *map(str, extra)))
        return task, num_blocks


def write_demonstrations(
    store: str | Path,
    recipe: Recipe,
    embodiment: Embodiment,
    images: Preprocessing,
    *,
    workers: int = 1,
    progress: Callable[[int, int], object] = lambda done, total: None,
    name: str = "expert",
    load_driver: Callable[[], Driver] | None = None,
) -> None:
    """Make what is missing of a store of demonstrations.

    :param images: As the model's images are made; the crop is left to training.
    :param workers: Processes to share the work; the samples do not depend on how many.
    :param progress: Called with the shards there are and those there will be.
    :param name: What the names of the shards begin with.
    :param load_driver: Makes, in each process, what moves the arm in the expert's stead.
    """
    names = [f"{name}-{at:05d}" for at in range(-(-recipe.episodes // recipe.episodes_per_shard))]
    make = functools.partial(_make_shard, Path(store), recipe, embodiment, images, name)
    begin = functools.partial(_begin, load_driver)
    make_missing(store, names, make, workers=workers, progress=progress, begin=begin)


def demonstrations(
    recipe: Recipe,
    embodiment: Embodiment,
    images: Preprocessing,
    episodes: Sequence[int],
    driver: Driver | None = None,
) -> Iterator[Samples]:
    """Run episodes one after another and yield the samples of each that succeeded.

    :param episodes: Their numbers within the recipe.
    :param driver: Moves the arm in the expert's stead; then also episodes count that failed.
    """
    environments: dict[int, TabletopEnv] = {}
    encoder = EpisodeEncoder(embodiment, images)
    left: TableState | None = None
    try:
        for number in episodes:
            task, num_blocks = recipe.task(number, left)
            if driver is not None:
                task = replace(task, time_limit_s=_OWN_MISTAKES_S)
            if num_blocks not in environments:
                environments[num_blocks] = TabletopEnv(
                    num_blocks=num_blocks,
                    image_size=(recipe.camera_pixels, recipe.camera_pixels),
                    variation=recipe.variation,
                    period_s=embodiment.action.period_s,
                )
            episode = run_episode(
                environments[num_blocks],
                task,
                recipe.seed + number,
                noise=recipe.noise if driver is None else None,
                chunk_size=embodiment.action.chunk_size,
                vary_words=True,
                driver=driver,
            )
            left = environments[num_blocks].sim.state() if isinstance(task, LaidOutTask) else None
            if episode.success or driver is not None:
                views = cameras_of(environments[num_blocks].sim)
                yield encoder(episode, number, views)
    finally:
        for environment in environments.values():
            environment.close()


class EpisodeEncoder:
    """Turns episodes of the simulation into samples of one robot.

    :param embodiment: Says cameras, state and action conventions.
    :param images: As the model's images are made; the crop is left to training.
    """

    def __init__(self, embodiment: Embodiment, images: Preprocessing) -> None:
        self._embodiment = embodiment
        self._images = Preprocessing(images.size, jpeg=images.jpeg, crop_area=1.0)
        self._codec = ActionCodec.from_embodiment(embodiment)
        self._proprio = ProprioWriter(embodiment)

    def __call__(self, episode: Episode, number: int, views: Mapping[str, View]) -> Samples:
        """Encode one episode.

        :param number: What to call it.
        :param views: The cameras as they were in the episode, by name.
        """
        poses = [Pose(row[:3], row[3:]) for row in episode.end_effector]
        return Samples(
            images=self._model_images(episode),
            actions=np.stack([self._actions(*row) for row in zip(episode.chunks, poses, strict=True)]),
            proprio=self._states(episode, poses),
            instructions=[episode.instruction] * len(episode),
            episode=np.full(len(episode), number, dtype=np.int64),
            labels={
                BLOCK_LABEL: block_labels(episode),
                SIGHT_LABEL: sight_labels(episode, [views[one.name] for one in self._embodiment.cameras]),
            },
        )

    def _model_images(self, episode: Episode) -> np.ndarray:
        views = []
        for camera in self._embodiment.cameras:
            frames = episode.images[camera.name]
            views.append(np.stack([self._model_image(frame, camera.rotate_180) for frame in frames]))
        return np.stack(views, axis=1)

    def _model_image(self, image: RGBImage, turned: bool) -> RGBImage:
        return preprocess(rotate_180(image) if turned else image, self._images)

    def _actions(self, chunk: Array, pose: Pose) -> np.ndarray:
        motion = Motion(chunk[:, :3], chunk[:, 3:6], chunk[:, 6])
        return self._codec.to_actions(motion, pose.quaternion).astype(np.float32)

    def _states(self, episode: Episode, poses: Sequence[Pose]) -> np.ndarray:
        names = (*ARM_JOINT_NAMES, *FINGER_JOINT_NAMES)
        states = [
            RobotState(0, 0, pose, dict(zip(names, joints, strict=True)), gripper=float(gripper))
            for pose, joints, gripper in zip(poses, episode.joints, episode.gripper, strict=True)
        ]
        return np.stack([self._proprio(state) for state in states]).astype(np.float32)


def block_labels(episode: Episode) -> np.ndarray:
    """Return where the blocks are from the gripper (T, colours, 5), colours as in ``CLOSED_COLOURS``."""
    labels = np.full((len(episode), len(CLOSED_COLOURS), BLOCK_NUMBERS), np.nan, dtype=np.float32)
    for at, row in enumerate(episode.end_effector):
        blocks = {colour: Pose(poses[at, :3], poses[at, 3:]) for colour, poses in episode.blocks.items()}
        table = ImaginedTable.from_state(TableState(0.0, Pose(row[:3], row[3:]), 0.0, blocks))
        for colour, block in table.blocks.items():
            if colour not in CLOSED_COLOURS:
                continue
            turn = 4.0 * (block.yaw - table.yaw)
            place = block.position - table.position
            labels[at, CLOSED_COLOURS.index(colour)] = [*place, np.cos(turn), np.sin(turn)]
    return labels


@dataclass(frozen=True, eq=False)
class View:
    """How a camera sees.

    :param matrix: (3, 3) K at the size of the images; whole coordinates are pixel centres.
    :param pose: Of its optical frame, in the base or, if it is mounted on the arm, in the end effector.
    :param image_size: Height and width [pixels].
    :param mounted: Whether it moves with the end effector.
    """

    matrix: Array
    pose: Pose
    image_size: tuple[int, int]
    mounted: bool


def cameras_of(sim: TabletopSim) -> dict[str, View]:
    """Return how the cameras of a simulation see now; that of the wrist is fixed to the end effector."""
    views = {}
    for name, mount in CAMERA_MOUNTS.items():
        mounted = mount.link is not None
        pose = sim.camera_pose(name)
        if mounted:
            pose = sim.ee_pose().inverse().compose(pose)
        views[name] = View(sim.camera_intrinsics(name), pose, sim.image_size, mounted)
    return views


def sight_labels(episode: Episode, views: Sequence[View]) -> np.ndarray:
    """Return what the images show of the blocks (T, cameras, colours, 11); see ``SIGHT_LABEL``.

    :param views: The cameras, in the order of the second axis.
    """
    shape = (len(episode), len(views), len(CLOSED_COLOURS), _SIGHT_NUMBERS)
    labels = np.full(shape, np.nan, dtype=np.float32)
    for at, row in enumerate(episode.end_effector):
        hand = Pose(row[:3], row[3:])
        blocks = {colour: Pose(places[at, :3], places[at, 3:]) for colour, places in episode.blocks.items()}
        for camera, view in enumerate(views):
            pose = hand.compose(view.pose) if view.mounted else view.pose
            for colour, block in blocks.items():
                if colour not in CLOSED_COLOURS:
                    continue
                labels[at, camera, CLOSED_COLOURS.index(colour)] = sight_of(block, view, pose)
    return labels


def sight_of(block: Pose, view: View, camera: Pose) -> Array:
    """Return what an image shows of a block (11,); see ``SIGHT_LABEL``.

    :param block: Its middle and turn.
    :param camera: Pose of the optical frame, in the same frame.
    """
    points = np.vstack([block.position, block.position + _CORNERS_M @ block.rotation.T])
    local = (points - camera.position) @ camera.rotation
    if local[:, 2].min() < _NEAREST_M:
        return np.full(_SIGHT_NUMBERS, np.nan)
    height, width = view.image_size
    places = ((local / local[:, 2:]) @ view.matrix.T)[:, :2] + 0.5
    places /= [width, height]
    outline = places[1:] - places[0]
    left, upper = outline.argmin(axis=0)
    right, lower = outline.argmax(axis=0)
    ends = [outline[left, 0], outline[right, 0], outline[upper, 1], outline[lower, 1]]
    aside = [outline[upper, 0], outline[lower, 0], outline[left, 1], outline[right, 1]]
    return np.array([*places[0], local[0, 2], *ends, *aside])


_load_driver: Callable[[], Driver] | None = None
_driver: Driver | None = None


def _begin(load_driver: Callable[[], Driver] | None) -> None:
    # A pool starts workers anew for ever if this fails, so nothing that can fail is done here.
    global _load_driver
    _load_driver = load_driver


def _make_shard(
    store: Path, recipe: Recipe, embodiment: Embodiment, images: Preprocessing, name: str, at: int
) -> None:
    global _driver
    if _driver is None and _load_driver is not None:
        _driver = _load_driver()
    first = at * recipe.episodes_per_shard
    numbers = range(first, min(first + recipe.episodes_per_shard, recipe.episodes))
    parts = list(demonstrations(recipe, embodiment, images, numbers, _driver))
    write_shard(store, f"{name}-{at:05d}", concatenate(parts))


def concatenate(parts: Sequence[Samples]) -> Samples:
    """Put samples one after another.

    :param parts: At least one, all with the same labels.
    """
    return Samples(
        images=np.concatenate([part.images for part in parts]),
        actions=np.concatenate([part.actions for part in parts]),
        proprio=np.concatenate([part.proprio for part in parts]),
        instructions=[text for part in parts for text in part.instructions],
        episode=np.concatenate([part.episode for part in parts]),
        labels={key: np.concatenate([part.labels[key] for part in parts]) for key in parts[0].labels},
    )
