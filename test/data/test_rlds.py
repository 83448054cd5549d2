"""Tests for reading RLDS sets; those that read a stored one need tensorflow-datasets."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dream_vla_ros.data.convert_job import SourceKind, kind_of
from dream_vla_ros.data.episode import Origin
from dream_vla_ros.data.errors import DatasetError
from dream_vla_ros.data.rlds import RldsNames, _episode, is_rlds, rlds_episodes
from dream_vla_ros.embodiment import ProprioLayout, RotationConvention

STORED = Path(__file__).parent / "fixtures" / "rlds_tiny" / "1.0.0"
INSTALLED = all(importlib.util.find_spec(name) for name in ("tensorflow", "tensorflow_datasets"))
ORIGIN = Origin("tiny", 0, 0)


def steps(count: int = 9, **changes) -> list[dict]:
    return [
        {
            "observation": {
                "image": np.full((32, 48, 3), frame, np.uint8),
                "wrist_image": np.full((32, 48, 3), 100 + frame, np.uint8),
                "state": np.array([0.2 + 0.01 * frame, 0.1, 0.1, np.pi, 0, 0, 0.037, 0.037], np.float32),
            }
            | changes.get("observation", {}),
            "action": np.array([0.01, 0, 0, 0, 0, 0.02, float(frame < 4)], np.float32),
            "language_instruction": b"pick the cube",
        }
        for frame in range(count)
    ]


def test_steps_become_an_episode(tabletop):
    episode = _episode(steps(), tabletop, RldsNames(), ORIGIN, "tiny")
    assert (len(episode), episode.instruction) == (9, "pick the cube")
    assert episode.images["third_person"][3].decode()[0, 0, 0] == 3
    assert episode.images["wrist"][3].decode()[0, 0, 0] == 103
    assert np.allclose(episode.motion.translation[:, 0], 0.01)
    assert np.allclose(episode.motion.rotation[:, 2], 0.02)
    assert episode.motion.gripper.tolist() == [1.0] * 4 + [0.0] * 5
    assert np.allclose(episode.poses.positions[:, 0], 0.2 + 0.01 * np.arange(9), atol=1e-6)
    assert np.allclose(episode.opening, 1.0)
    assert episode.proprio.shape == (9, 8)


def test_bridge_states_tell_the_orientation_even_if_the_model_sees_none(tabletop):
    bridge = replace(
        tabletop,
        cameras=tabletop.cameras[:1],
        proprio=replace(
            tabletop.proprio,
            layout=ProprioLayout.NONE,
            reference_rotation=(0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0),
        ),
        action=replace(tabletop.action, rotation=RotationConvention.EULER_DIFFERENCE),
    )
    state = np.array([0.3, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0], np.float32)
    given = steps(observation={"state": state, "image_0": np.zeros((8, 8, 3), np.uint8)})
    for step in given:
        del step["observation"]["image"]
    episode = _episode(given, bridge, RldsNames(), ORIGIN, "bridge")
    assert episode.proprio.shape == (9, 0)
    # Zero angles are the gripper pointing down: its x axis is the base's -z.
    assert np.allclose(episode.poses[0].rotation[:, 0], [0.0, 0.0, -1.0], atol=1e-9)


def test_what_does_not_fit_is_named(tabletop):
    with pytest.raises(
        DatasetError, match="no image for camera 'wrist' \\(hand\\).*image, state, wrist_image"
    ):
        _episode(steps(), tabletop, RldsNames(cameras={"wrist": "hand"}), ORIGIN, "tiny")
    with pytest.raises(DatasetError, match="no 'motion'; a step has action, language_instruction"):
        _episode(steps(), tabletop, RldsNames(action="motion"), ORIGIN, "tiny")
    with pytest.raises(DatasetError, match="the state is of shape"):
        _episode(steps(observation={"state": np.zeros(5)}), tabletop, RldsNames(), ORIGIN, "tiny")
    broken = steps()
    broken[4]["action"] = np.full(7, np.nan)
    with pytest.raises(DatasetError, match="action of frame 4 is not finite"):
        _episode(broken, tabletop, RldsNames(), ORIGIN, "tiny")
    for step in broken:
        step["action"] = np.zeros(6)
    with pytest.raises(DatasetError, match="another kind of robot"):
        _episode(broken, tabletop, RldsNames(), ORIGIN, "tiny")
    for step in broken:
        del step["language_instruction"]
        step["action"] = np.zeros(7)
    with pytest.raises(DatasetError, match="no instruction"):
        _episode(broken, tabletop, RldsNames(), ORIGIN, "tiny")


def test_a_stored_set_is_recognised():
    assert is_rlds(STORED)
    assert kind_of(STORED) is SourceKind.RLDS
    assert kind_of(STORED.parent) is None


def test_without_tensorflow_datasets_the_user_is_told_what_to_install(tabletop, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DatasetError, match="pip install tensorflow-datasets"):
        next(rlds_episodes(STORED, tabletop, RldsNames()))


@pytest.mark.skipif(not INSTALLED, reason="tensorflow-datasets, an optional extra, is not installed")
def test_a_stored_set_is_read_in_order(tabletop):
    episodes = list(rlds_episodes(STORED, tabletop, RldsNames()))
    assert [(len(one), one.instruction) for one in episodes] == [
        (9 + number, f"do {number}") for number in range(4)
    ]
    for number, episode in enumerate(episodes):
        image = episode.images["third_person"][3].decode()
        assert image[0, 0].tolist() == [30, 0, 40 * number]
        assert np.allclose(episode.actions[:, 5], 0.01 * number)
