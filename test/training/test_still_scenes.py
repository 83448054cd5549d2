"""Still tables: drawn from their numbers alone, with labels that fit what simulation says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dream_vla_ros.images import Preprocessing
from dream_vla_ros.sim.appearance import CLOSED_COLOURS
from dream_vla_ros.sim.simulation import TabletopSim
from dream_vla_ros.sim.symbols import symbols
from dream_vla_ros.training.questions import draw_scene
from dream_vla_ros.training.still_scenes import StillRecipe, still_scenes, write_still_scenes
from dream_vla_ros.training.store import SampleStore
from dream_vla_ros.training.table_scenes import tables_of

IMAGES = Preprocessing(112, jpeg=False, crop_area=1.0)
RECIPE = StillRecipe(scenes=5, seed=3, num_blocks=(4,), camera_pixels=64, scenes_per_shard=3)


def test_labels_say_what_the_simulation_says(embodiment):
    samples = still_scenes(RECIPE, embodiment, IMAGES, range(4))
    sim = TabletopSim(num_blocks=4, image_size=(64, 64), variation=RECIPE.variation)
    towers = 0
    for number, table in enumerate(tables_of(samples)):
        rng = np.random.default_rng([3 + number, 9])
        rng.choice(RECIPE.num_blocks)
        colours = [str(colour) for colour in rng.choice(CLOSED_COLOURS, 4, replace=False)]
        wanted = symbols(sim.reset(draw_scene(colours, rng), rng))
        towers += sum(atom.predicate == "on" for atom in wanted)
        assert symbols(table) == wanted
    assert towers
    sim.close()


def test_a_store_goes_on_where_it_stopped(embodiment, tmp_path):
    told = []
    write_still_scenes(tmp_path, replace(RECIPE, scenes=3), embodiment, IMAGES)
    before = (tmp_path / "still-00000" / "shard.json").stat().st_mtime_ns
    write_still_scenes(tmp_path, RECIPE, embodiment, IMAGES, progress=lambda *numbers: told.append(numbers))
    assert told == [(1, 2), (2, 2)]
    assert (tmp_path / "still-00000" / "shard.json").stat().st_mtime_ns == before
    store = SampleStore(tmp_path)
    assert len(store) == 5
    alone = still_scenes(RECIPE, embodiment, IMAGES, [4])
    kept = store.take([4])
    np.testing.assert_array_equal(kept.images, alone.images)
    np.testing.assert_array_equal(kept.labels["blocks"], alone.labels["blocks"])
