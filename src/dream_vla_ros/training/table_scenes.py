"""Rendered tables with towers and with the arm at work on them, to ask a model about.

Demonstrations begin with every block on the table, so towers are rare in them. These are expert episodes that
begin with towers; a few moments of each are kept, in the format of demonstrations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.images import Preprocessing
from dream_vla_ros.sim.appearance import CLOSED_COLOURS, MODEST_VARIATION, Variation
from dream_vla_ros.sim.arm import MAX_FINGER_TRAVEL_M
from dream_vla_ros.sim.environment import TabletopEnv
from dream_vla_ros.sim.rollout import run_episode
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.training.demonstrations import BLOCK_LABEL, EpisodeEncoder, cameras_of, concatenate
from dream_vla_ros.training.shards import make_missing
from dream_vla_ros.training.store import Samples, write_shard
from dream_vla_ros.training.tower_tasks import LaidOutTask, tower_task

# Upright, as quaternion x, y, z, w; how things are turned does not matter to what is true of a table.
_UPRIGHT = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class SceneRecipe:
    """What scenes are made of.

    :param episodes: How many.
    :param seed: Seed of the first; they count up.
    :param moments: Kept of each episode: the first, the last, and others between them drawn evenly.
    :param num_blocks: Numbers of blocks on the table, drawn evenly.
    :param tower_share: How probable it is that a block begins on another one.
    :param camera_pixels: Side of the rendered images, as the simulation node publishes them.
    :param time_limit_s: Of an episode.
    """

    episodes: int
    seed: int = 0
    moments: int = 7
    num_blocks: tuple[int, ...] = (3, 4)
    tower_share: float = 0.5
    camera_pixels: int = 224
    variation: Variation = MODEST_VARIATION
    time_limit_s: float = 12.0
    episodes_per_shard: int = 25

    def task(self, episode: int) -> tuple[LaidOutTask, np.random.Generator]:
        """Draw an episode; the generator goes on to draw the rest."""
        rng = np.random.default_rng([self.seed + episode, 3])
        colours = rng.choice(CLOSED_COLOURS, int(rng.choice(self.num_blocks)), replace=False)
        return tower_task(
            [str(colour) for colour in colours],
            rng,
            tower_share=self.tower_share,
            time_limit_s=self.time_limit_s,
        ), rng


def write_scenes(
    store: str | Path,
    recipe: SceneRecipe,
    embodiment: Embodiment,
    images: Preprocessing,
    *,
    workers: int = 1,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Make what is missing of a store of scenes.

    :param images: As the model's images are made; the crop is left to training.
    :param workers: Processes to share the work; the samples do not depend on how many.
    :param progress: Called with the shards there are and those there will be.
    """
    names = [_shard_name(at) for at in range(-(-recipe.episodes // recipe.episodes_per_shard))]
    make = functools.partial(_make_shard, Path(store), recipe, embodiment, images)
    make_missing(store, names, make, workers=workers, progress=progress)


def scenes(
    recipe: SceneRecipe, embodiment: Embodiment, images: Preprocessing, episodes: Sequence[int]
) -> list[Samples]:
    """Run episodes one after another and return the kept moments of each.

    Episodes in which the expert fails are kept, too: what is true of the table is known all the same.

    :param episodes: Their numbers within the recipe.
    """
    environments: dict[int, TabletopEnv] = {}
    encoder = EpisodeEncoder(embodiment, images)
    parts = []
    try:
        for number in episodes:
            task, rng = recipe.task(number)
            count = len(task.layout.blocks)
            if count not in environments:
                size = (recipe.camera_pixels, recipe.camera_pixels)
                environments[count] = TabletopEnv(
                    num_blocks=count,
                    image_size=size,
                    variation=recipe.variation,
                    period_s=embodiment.action.period_s,
                )
            environment = environments[count]
            episode = run_episode(
                environment, task, recipe.seed + number, chunk_size=embodiment.action.chunk_size
            )
            samples = encoder(episode, number, cameras_of(environment.sim))
            parts.append(_chosen(samples, _moments(len(samples), recipe.moments, rng)))
    finally:
        for environment in environments.values():
            environment.close()
    return parts


def tables_of(samples: Samples) -> list[TableState]:
    """Return the tables that samples show, as far as symbols depend on them.

    :param samples: Of demonstrations or scenes, whose states are ``xyz_axis_angle_fingers``.
    """
    return [
        _table(blocks, state)
        for blocks, state in zip(samples.labels[BLOCK_LABEL], samples.proprio, strict=True)
    ]


def _table(blocks: NDArray[np.float32], state: NDArray[np.float32]) -> TableState:
    hand = state[:3].astype(np.float64)
    places: Mapping[str, Pose] = {
        colour: Pose(hand + row[:3], np.array(_UPRIGHT))
        for colour, row in zip(CLOSED_COLOURS, blocks, strict=True)
        if np.isfinite(row[:3]).all()
    }
    opening = float(np.clip(state[6:8].mean() / MAX_FINGER_TRAVEL_M, 0.0, 1.0))
    return TableState(0.0, Pose(hand, np.array(_UPRIGHT)), opening, places)


def _moments(length: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    between = np.arange(1, length - 1)
    drawn = rng.choice(between, min(max(count - 2, 0), len(between)), replace=False)
    return np.unique([0, *drawn, length - 1])


def _chosen(samples: Samples, rows: NDArray[np.int64]) -> Samples:
    return replace(
        samples,
        images=samples.images[rows],
        actions=samples.actions[rows],
        proprio=samples.proprio[rows],
        instructions=[samples.instructions[row] for row in rows],
        episode=samples.episode[rows],
        labels={key: values[rows] for key, values in samples.labels.items()},
    )


def _shard_name(at: int) -> str:
    return f"scenes-{at:05d}"


def _make_shard(
    store: Path, recipe: SceneRecipe, embodiment: Embodiment, images: Preprocessing, at: int
) -> None:
    first = at * recipe.episodes_per_shard
    numbers = range(first, min(first + recipe.episodes_per_shard, recipe.episodes))
    write_shard(store, _shard_name(at), concatenate(scenes(recipe, embodiment, images, numbers)))
