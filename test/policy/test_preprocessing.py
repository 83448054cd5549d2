"""Tests of which preprocessing a checkpoint asks for."""

from __future__ import annotations

import pytest

from dream_vla_ros.images import Preprocessing
from dream_vla_ros.policy.policy import PolicyError
from dream_vla_ros.policy.preprocessing import preprocessing_of


def test_checkpoints_that_say_nothing_are_as_published():
    assert preprocessing_of({}, "config.json") == Preprocessing(224, jpeg=True, crop_area=0.9)


def test_checkpoints_may_say_otherwise():
    config = {"image_size": 112, "image_jpeg": False, "image_crop_area": 1}
    assert preprocessing_of(config, "config.json") == Preprocessing(112, jpeg=False, crop_area=1.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_size", 0),
        ("image_size", "224"),
        ("image_size", True),
        ("image_jpeg", 1),
        ("image_crop_area", "0.9"),
        ("image_crop_area", 1.5),
        ("image_crop_area", False),
    ],
)
def test_nonsense_is_refused_with_file_and_key(key, value):
    with pytest.raises(PolicyError, match=r"a/config\.json: .*(image.size|image_jpeg|crop.area)"):
        preprocessing_of({key: value}, "a/config.json")
