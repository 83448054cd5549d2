"""Scenes with towers: what is true of their tables can be told from what is stored."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.images import Preprocessing
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.training.store import SampleStore
from dream_vla_ros.training.table_scenes import SceneRecipe, scenes, tables_of, write_scenes

RECIPE = SceneRecipe(episodes=3, moments=4, camera_pixels=64, time_limit_s=3.0, episodes_per_shard=2)
IMAGES = Preprocessing(112, jpeg=False, crop_area=1.0)


@pytest.fixture(scope="module")
def parts(embodiment):
    return scenes(RECIPE, embodiment, IMAGES, range(RECIPE.episodes))


def test_the_first_moment_is_the_drawn_layout(parts):
    for number, part in enumerate(parts):
        layout = RECIPE.task(number)[0].layout
        drawn = symbols(TableState(0.0, layout.end_effector, 1.0, layout.blocks))
        table = tables_of(part)[0]
        assert set(table.blocks) == set(layout.blocks)
        assert symbols(table) == drawn
        assert len(part) == RECIPE.moments
        assert part.images.shape[1:] == (2, 112, 112, 3)


def test_beginnings_have_towers():
    drawn = [RECIPE.task(number)[0].layout for number in range(30)]
    tall = [max(pose.position[2] for pose in layout.blocks.values()) for layout in drawn]
    assert 20 < sum(height > 0.05 for height in tall) < 30


def test_something_happens(parts):
    for part in parts:
        moved = part.proprio[-1, :3] - part.proprio[0, :3]
        assert np.linalg.norm(moved) > 0.02


def test_a_store_is_completed_and_does_not_depend_on_how(embodiment, tmp_path, parts):
    write_scenes(tmp_path, RECIPE, embodiment, IMAGES)
    store = SampleStore(tmp_path)
    assert len(store) == sum(map(len, parts))
    last = store.take(np.arange(len(store) - len(parts[-1]), len(store)))
    np.testing.assert_array_equal(last.images, parts[-1].images)
    told = []
    write_scenes(
        tmp_path, RECIPE, embodiment, IMAGES, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(2, 2)]
