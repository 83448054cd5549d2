"""Rendered tables with towers on which nothing happens yet: cheap, so there can be many different ones.

An episode shows one table some dozens of times and costs a hundred times what drawing one costs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Array, Pose
from dream_vla_ros.images import Preprocessing
from dream_vla_ros.sim.appearance import CLOSED_COLOURS, MODEST_VARIATION, Variation
from dream_vla_ros.sim.goals import Lifted
from dream_vla_ros.sim.rollout import Episode
from dream_vla_ros.sim.simulation import TabletopSim
from dream_vla_ros.sim.tasks import Task
from dream_vla_ros.training.demonstrations import EpisodeEncoder, cameras_of, concatenate
from dream_vla_ros.training.questions import draw_scene
from dream_vla_ros.training.shards import make_missing
from dream_vla_ros.training.store import Samples, write_shard


@dataclass(frozen=True)
class StillRecipe:
    """What still scenes are made of.

    :param scenes: How many.
    :param seed: Seed of the first; they count up. ``dream_vla calibrate`` draws others.
    :param num_blocks: Numbers of blocks on the table, drawn evenly.
    :param tower_share: How probable it is that a block lies on another one.
    :param camera_pixels: Side of the rendered images, as the simulation node publishes them.
    """

    scenes: int
    seed: int = 0
    num_blocks: tuple[int, ...] = (3, 4)
    tower_share: float = 0.5
    camera_pixels: int = 224
    variation: Variation = MODEST_VARIATION
    scenes_per_shard: int = 250


def write_still_scenes(
    store: str | Path,
    recipe: StillRecipe,
    embodiment: Embodiment,
    images: Preprocessing,
    *,
    workers: int = 1,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Make what is missing of a store of still scenes.

    :param images: As the model's images are made; the crop is left to training.
    :param workers: Processes to share the work; the samples do not depend on how many.
    :param progress: Called with the shards there are and those there will be.
    """
    names = [_shard_name(at) for at in range(-(-recipe.scenes // recipe.scenes_per_shard))]
    make = functools.partial(_make_shard, Path(store), recipe, embodiment, images)
    make_missing(store, names, make, workers=workers, progress=progress)


def still_scenes(
    recipe: StillRecipe, embodiment: Embodiment, images: Preprocessing, numbers: Sequence[int]
) -> Samples:
    """Draw scenes and show each once.

    :param numbers: Of the scenes within the recipe.
    """
    encoder = EpisodeEncoder(embodiment, images)
    sims: dict[int, TabletopSim] = {}
    parts = []
    try:
        for number in numbers:
            rng = np.random.default_rng([recipe.seed + number, 9])
            count = int(rng.choice(recipe.num_blocks))
            colours = [str(colour) for colour in rng.choice(CLOSED_COLOURS, count, replace=False)]
            if count not in sims:
                size = (recipe.camera_pixels, recipe.camera_pixels)
                sims[count] = TabletopSim(num_blocks=count, image_size=size, variation=recipe.variation)
            sim = sims[count]
            sim.reset(draw_scene(colours, rng, tower_share=recipe.tower_share), rng)
            cameras = [camera.name for camera in embodiment.cameras]
            moment = _moment(sim, colours, cameras, number, embodiment.action.chunk_size)
            parts.append(encoder(moment, number, cameras_of(sim)))
    finally:
        for sim in sims.values():
            sim.close()
    return concatenate(parts)


def _moment(
    sim: TabletopSim, colours: Sequence[str], cameras: Sequence[str], number: int, chunk_size: int
) -> Episode:
    """Return what is to be seen now as an episode of one step in which nothing is done."""
    table = sim.state()
    task = Task(Lifted(colours[0]))
    return Episode(
        task=task,
        seed=number,
        instruction=task.instruction,
        images={name: sim.render(name).copy()[None] for name in cameras},
        end_effector=_row(table.end_effector),
        gripper=np.array([table.gripper]),
        joints=np.array([list(sim.joint_positions().values())]),
        blocks={colour: _row(pose) for colour, pose in table.blocks.items()},
        chunks=np.zeros((1, chunk_size, 7)),
        actions=np.zeros((1, 7)),
        kicked=np.zeros(1, dtype=bool),
        success=False,
    )


def _row(pose: Pose) -> Array:
    return np.concatenate([pose.position, pose.quaternion])[None]


def _shard_name(at: int) -> str:
    return f"still-{at:05d}"


def _make_shard(
    store: Path, recipe: StillRecipe, embodiment: Embodiment, images: Preprocessing, at: int
) -> None:
    first = at * recipe.scenes_per_shard
    numbers = range(first, min(first + recipe.scenes_per_shard, recipe.scenes))
    write_shard(store, _shard_name(at), still_scenes(recipe, embodiment, images, numbers))
