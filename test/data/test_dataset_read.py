"""Tests for reading LeRobot sets that LeRobot itself has written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dream_vla_ros.data.dataset_read import Dataset, is_dataset
from dream_vla_ros.data.errors import DatasetError

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = {"v3_video": "v3.0", "v21_image": "v2.1", "v21_video": "v2.1"}


def truth(episode: int, frame: int) -> np.ndarray:
    image = np.zeros((32, 48, 3), np.uint8)
    image[..., 0] = 20 * frame
    image[8:16, 4 * frame : 4 * frame + 8, 1] = 200
    image[..., 2] = 100 * episode
    return image


@pytest.mark.parametrize("name", VERSIONS)
def test_numbers_images_and_instructions_are_read(name):
    assert is_dataset(FIXTURES / f"lerobot_{name}")
    dataset = Dataset(FIXTURES / f"lerobot_{name}")
    assert dataset.version == VERSIONS[name]
    assert dataset.rate == 5.0
    assert dataset.frames == 19
    assert [one.instruction for one in dataset.episodes] == ["pick the cube", "place the cube"]
    assert dataset.tasks == {0: "pick the cube", 1: "place the cube"}
    assert dataset.cameras == {
        "third_person": "observation.images.third_person",
        "wrist": "observation.images.wrist",
    }
    assert dataset.statistics is None
    for episode in dataset.episodes:
        columns = dataset.columns(episode)
        assert columns["action"].shape == (episode.length, 7)
        assert np.allclose(columns["action"][:, 5], 0.02 * episode.index, atol=1e-6)
        assert columns["frame_index"].tolist() == list(range(episode.length))
        images = [one.decode() for one in dataset.images(episode, "third_person")]
        assert len(images) == episode.length
        tolerance = 0.0 if "image" in name else 12.0  # of AV1 at LeRobot's quality, on tiny images
        for frame, image in enumerate(images):
            difference = np.abs(image.astype(int) - truth(episode.index, frame).astype(int))
            assert difference.mean() <= tolerance
            flipped = dataset.images(episode, "wrist")[frame].decode()
            difference = np.abs(flipped[::-1].astype(int) - truth(episode.index, frame).astype(int))
            assert difference.mean() <= tolerance


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(FIXTURES / "lerobot_v3_video", tmp_path / "set")
    return tmp_path / "set"


def test_other_versions_are_refused_by_name(copy):
    info = json.loads((copy / "meta/info.json").read_text())
    (copy / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v1.6"}))
    with pytest.raises(DatasetError, match=r"version 'v1\.6' is none of"):
        Dataset(copy)
    (copy / "meta/info.json").write_text("{")
    with pytest.raises(DatasetError, match=r"info\.json: not JSON"):
        Dataset(copy)
    (copy / "meta/info.json").write_text(json.dumps({"codebase_version": "v3.0"}))
    with pytest.raises(DatasetError, match=r"info\.json: .*fps"):
        Dataset(copy)


def test_damaged_files_are_named(copy):
    dataset = Dataset(copy)
    data = copy / "data/chunk-000/file-000.parquet"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(DatasetError, match=r"file-000\.parquet: cannot be read"):
        dataset.columns(dataset.episodes[0])
    video = copy / "videos/observation.images.wrist/chunk-000/file-000.mp4"
    video.write_bytes(video.read_bytes()[:500])
    with pytest.raises(DatasetError, match=r"file-000\.mp4"):
        list(dataset.images(dataset.episodes[0], "wrist"))
    (copy / "meta/tasks.parquet").unlink()
    with pytest.raises(DatasetError, match=r"tasks\.parquet: cannot be read"):
        Dataset(copy)


def test_what_is_not_there_is_answered_with_what_is(copy):
    dataset = Dataset(copy)
    with pytest.raises(DatasetError, match="no camera 'left'; there are third_person, wrist"):
        dataset.images(dataset.episodes[0], "left")
    with pytest.raises(DatasetError, match="no feature reward"):
        dataset.columns(dataset.episodes[0], ["reward"])
    with pytest.raises(DatasetError, match=r"meta/info\.json"):
        Dataset(copy / "meta")
