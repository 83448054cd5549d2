"""Tests that LeRobot itself loads what is written; they need it installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dream_vla_ros.data.bag_episodes import BagRules
from dream_vla_ros.data.convert import Conversion, convert, find_sources
from dream_vla_ros.data.dataset_read import Dataset
from dream_vla_ros.data.dataset_stage import ImageRules, ImageStorage
from dream_vla_ros.data.idle import IdleRule, Trim


def lerobot() -> Any:
    try:
        return importlib.import_module("lerobot.datasets.lerobot_dataset")
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"LeRobot cannot be loaded here: {error}")


@pytest.mark.parametrize("storage", list(ImageStorage))
def test_lerobot_loads_a_converted_set(tmp_path, make_scene, own_writer, robot_file, storage):
    module = lerobot()
    for name in ("a", "b"):
        own_writer(tmp_path / "bags" / name, make_scene(compressed="png").messages())
    target = tmp_path / "set"
    rules = BagRules(idle=IdleRule(Trim.NONE))
    sources = find_sources([tmp_path / "bags"])
    convert(Conversion(sources, Path(robot_file), target, rules, ImageRules(storage), workers=1))
    ours = Dataset(target)
    theirs = module.LeRobotDataset(
        "converted/set", root=target, delta_timestamps={"action": [0.0, 0.2, 0.4, 0.6]}
    )
    assert (theirs.num_episodes, theirs.num_frames, theirs.fps) == (2, 38, 5)
    assert theirs.meta.camera_keys == ["observation.images.third_person", "observation.images.wrist"]
    columns = [ours.columns(episode) for episode in ours.episodes]
    for index in (0, 18, 19, 37):
        item = theirs[index]
        episode, frame = divmod(index, 19)
        assert item["task"] == "stack"
        assert int(item["episode_index"]) == episode
        assert np.allclose(item["observation.state"], columns[episode]["observation.state"][frame])
        assert np.allclose(item["action"][0], columns[episode]["action"][frame])
        assert item["action"].shape == (4, 7)
        assert bool(item["action_is_pad"][-1]) == (frame >= 16)
        for camera in ("third_person", "wrist"):
            image = ours.images(ours.episodes[episode], camera)[frame].decode()
            seen = np.asarray(item[f"observation.images.{camera}"]).transpose(1, 2, 0) * 255.0
            # The two decoders turn YUV into RGB a little differently.
            assert np.abs(seen - image).mean() < (1e-3 if storage is ImageStorage.EXACT else 3.0)
    only = module.LeRobotDataset("converted/set", root=target, episodes=[1])
    assert len(only) == 19
    assert set(theirs.meta.stats["action"]) >= {"min", "max", "mean", "std", "count", "q01", "q99"}
