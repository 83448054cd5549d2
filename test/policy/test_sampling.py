"""Tests of how many steps and noises a prediction has."""

from __future__ import annotations

import pytest

from dream_vla_ros.policy.policy import PolicyError
from dream_vla_ros.policy.sampling import Sampling, sampling_of
from dream_vla_ros.policy.settings import ModelSettings

TRAINED = {"inference_steps": 1, "inference_samples": 4}


def test_published_checkpoints_take_the_usual_steps_from_one_noise():
    assert sampling_of({}, "config.json", ModelSettings()) == Sampling(None, 1)


def test_a_checkpoint_may_say_otherwise_and_settings_have_the_last_word():
    assert sampling_of(TRAINED, "config.json", ModelSettings()) == Sampling(1, 4)
    assert sampling_of(TRAINED, "config.json", ModelSettings(steps=4)) == Sampling(4, 4)
    assert sampling_of(TRAINED, "config.json", ModelSettings(samples=1)) == Sampling(1, 1)


@pytest.mark.parametrize("key", ["inference_steps", "inference_samples"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "4", 10_000, None])
def test_nonsense_is_refused_with_file_and_key(key, value):
    with pytest.raises(PolicyError, match=rf"a/config\.json: {key} is"):
        sampling_of({key: value}, "a/config.json", ModelSettings())


def test_it_can_be_said():
    assert Sampling().words == "the usual steps from 1 noise"
    assert Sampling(1, 4).words == "1 step from 4 noises"
