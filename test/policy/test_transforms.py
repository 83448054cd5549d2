"""Tests of the steps between camera images and the model's."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.images import Preprocessing, preprocess
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.transforms import Compose, PreprocessImages, Rotate180, SelectCameras, model_images


def image(seed, height=20, width=30):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def observation():
    return Observation(
        images={"wrist": image(1), "spare": image(2), "third_person": image(3)},
        stamps_ns={"wrist": 30, "spare": 10, "third_person": 20},
        state=None,
        instruction="pick up the red block",
    )


def test_oldest_stamp_is_the_moment_of_the_observation():
    assert observation().oldest_stamp_ns == 10


@pytest.mark.parametrize(
    ("images", "stamps", "complaint"),
    [({}, {}, "at least one image"), ({"wrist": image(0)}, {}, "images are of wrist, but stamps of none")],
)
def test_incomplete_observations_are_refused(images, stamps, complaint):
    with pytest.raises(ValueError, match=complaint):
        Observation(images, stamps, None, "")


def test_cameras_are_sorted_as_the_model_sees_them():
    selected = SelectCameras(("third_person", "wrist"))(observation())
    assert list(selected.images) == ["third_person", "wrist"]
    assert selected.oldest_stamp_ns == 20
    assert np.array_equal(selected.images["wrist"], image(1))


def test_missing_camera_is_named():
    with pytest.raises(KeyError, match="left"):
        SelectCameras(("left",))(observation())


def test_only_the_named_cameras_are_turned():
    turned = Rotate180(frozenset({"wrist"}))(observation())
    assert np.array_equal(turned.images["wrist"], image(1)[::-1, ::-1])
    assert np.array_equal(turned.images["third_person"], image(3))
    assert turned.instruction == "pick up the red block"


def test_steps_run_in_order_and_leave_the_original_alone():
    original = observation()
    settings = Preprocessing(14)
    result = Compose((Rotate180(frozenset({"wrist"})), PreprocessImages(settings)))(original)
    assert np.array_equal(result.images["wrist"], preprocess(image(1)[::-1, ::-1].copy(), settings))
    assert np.array_equal(original.images["wrist"], image(1))


def test_robot_decides_order_and_rotation():
    robot = Embodiment.from_parameters(
        {
            "robot": "test",
            "cameras.names": ["third_person", "wrist"],
            "cameras.third_person.topic": "a",
            "cameras.wrist.topic": "b",
            "cameras.third_person.rotate_180": True,
        }
    )
    settings = Preprocessing(14)
    result = model_images(robot, settings)(observation())
    assert list(result.images) == ["third_person", "wrist"]
    assert np.array_equal(result.images["third_person"], preprocess(image(3)[::-1, ::-1].copy(), settings))
    assert np.array_equal(result.images["wrist"], preprocess(image(1), settings))
