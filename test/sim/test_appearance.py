from dataclasses import replace

import numpy as np
import pytest

from dream_vla_ros.sim.appearance import COLOURS, MODEST_VARIATION, Variation, dress
from dream_vla_ros.sim.scene import build_scene_spec

COUNT = 4


@pytest.fixture
def model():
    return build_scene_spec(num_blocks=COUNT, image_size=(8, 8)).compile()


def looks(model):
    camera = model.camera("third_person")
    return np.concatenate(
        [
            model.geom_rgba.ravel(),
            model.light("lamp").diffuse,
            camera.pos,
            camera.quat,
            camera.fovy,
        ]
    )


def test_without_variation_colours_are_the_standard_ones(model):
    dress(model, ["red", "cyan", "white", "blue"], Variation(), np.random.default_rng(0))
    for index, colour in enumerate(["red", "cyan", "white", "blue"]):
        assert np.allclose(model.geom(f"block_{index}").rgba[:3], COLOURS[colour])
    first = looks(model)
    dress(model, ["red", "cyan", "white", "blue"], Variation(), np.random.default_rng(1))
    assert np.array_equal(first, looks(model))


def test_shifts_are_exact_and_come_on_top(model):
    colours = list(COLOURS)[:COUNT]
    dress(model, colours, MODEST_VARIATION, np.random.default_rng(3))
    camera = model.camera("third_person")
    place, turned, fovy = camera.pos.copy(), camera.quat.copy(), camera.fovy.copy()
    light = model.light("lamp").diffuse.copy()
    shifted = replace(MODEST_VARIATION, camera_shift_m=0.02, camera_turn_deg=2.0, brightness_shift=0.3)
    dress(model, colours, shifted, np.random.default_rng(3))
    assert np.linalg.norm(camera.pos - place) == pytest.approx(0.02)
    angle = 2.0 * np.arccos(np.clip(abs(camera.quat @ turned), 0.0, 1.0))
    assert np.degrees(angle) == pytest.approx(2.0, abs=1e-6)
    assert np.array_equal(camera.fovy, fovy)
    assert np.abs(model.light("lamp").diffuse - light) == pytest.approx(0.6 * 0.3)


def test_variation_is_seeded_and_does_not_pile_up(model):
    colours = list(COLOURS)[:COUNT]
    dress(model, colours, MODEST_VARIATION, np.random.default_rng(3))
    first = looks(model)
    for seed in range(50):
        dress(model, colours, MODEST_VARIATION, np.random.default_rng(seed))
        assert not np.array_equal(first, looks(model)) or seed == 3
    dress(model, colours, MODEST_VARIATION, np.random.default_rng(3))
    assert np.array_equal(first, looks(model))


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_wrong_variation_is_named(value):
    with pytest.raises(ValueError, match="brightness"):
        Variation(brightness=value)
