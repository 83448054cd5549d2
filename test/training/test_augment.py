"""Random crops and colours, and the centre crop they are matched by."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.images import Preprocessing, center_crop, preprocess
from dream_vla_ros.training.augment import Augmentation, crop

PLAIN = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 40, 56, 3), dtype=np.uint8)


def test_a_crop_of_the_middle_is_what_inference_does(images):
    ours = crop(images[0].astype(np.float32), 0.9, 0.5, 0.5)
    theirs = center_crop(images[0], 0.9)
    # Inference rounds to bytes the way TensorFlow does, at most one level away.
    assert np.abs(ours - theirs).max() <= 1.0


def test_inference_of_a_stored_image_is_inference_of_the_camera_image(images):
    settings = Preprocessing(28, jpeg=False, crop_area=0.9)
    stored = preprocess(images[0], Preprocessing(28, jpeg=False, crop_area=1.0))
    np.testing.assert_array_equal(Augmentation(0.9).center(stored[None])[0], preprocess(images[0], settings))


def test_corner_crops_hold_the_corners(images):
    image = images[0].astype(np.float32)
    np.testing.assert_allclose(crop(image, 0.5, 0.0, 0.0)[0, 0], image[0, 0])
    np.testing.assert_allclose(crop(image, 0.5, 1.0, 1.0)[-1, -1], image[-1, -1], atol=0.05)


def test_nothing_asked_for_changes_nothing(images):
    same = Augmentation(1.0, **PLAIN).random(images, np.random.default_rng(0))
    np.testing.assert_array_equal(same, images)


def test_each_image_gets_its_own_draw_and_a_seed_repeats_it(images):
    same = np.repeat(images[:1], 4, axis=0)
    first = Augmentation().random(same, np.random.default_rng(3))
    assert len({image.tobytes() for image in first}) == 4
    np.testing.assert_array_equal(first, Augmentation().random(same, np.random.default_rng(3)))
    assert first.min() >= 0.0
    assert first.max() <= 255.0


def test_brightness_moves_all_channels_alike(images):
    grey = np.full_like(images, 128)
    changed = Augmentation(1.0, **(PLAIN | {"brightness": 0.2})).random(grey, np.random.default_rng(1))
    levels = changed.reshape(len(images), -1)
    assert np.ptp(levels, axis=1).max() < 1e-3
    assert np.abs(levels[:, 0] - 128.0).max() > 10.0
    assert np.abs(levels[:, 0] - 128.0).max() <= 51.1


def test_saturation_and_hue_leave_grey_alone(images):
    grey = np.full_like(images, 90)
    changed = Augmentation(1.0, 0.0, 0.0, 0.3, 0.1).random(grey, np.random.default_rng(1))
    np.testing.assert_allclose(changed, 90.0, atol=0.3)


@pytest.mark.parametrize("wrong", [{"crop_area": 0.0}, {"crop_area": 1.1}, {"hue": 1.0}, {"contrast": -0.1}])
def test_impossible_settings_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("_", " ")):
        Augmentation(**wrong)
