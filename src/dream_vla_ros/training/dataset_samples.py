"""Training samples of recorded datasets, as the policy would have seen them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dream_vla_ros.data import dataset_layout as layout
from dream_vla_ros.data.dataset_read import Dataset, DatasetEpisode
from dream_vla_ros.embodiment import Camera, Embodiment
from dream_vla_ros.images import Preprocessing, preprocess, rotate_180
from dream_vla_ros.training.errors import TrainingError
from dream_vla_ros.training.store import Samples, has_shard, write_shard

SOURCE = "source.json"
# Some 300 MB of 224-pixel images of two cameras: what is lost when the writing is cut short.
_FRAMES_PER_SHARD = 1000


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """A dataset of one robot, and how much it counts.

    :param dataset: In LeRobot's layout, written by this package.
    :param weight: Share in the draw of samples; the mixture's weights may have any sum.
    :param key: Name of its statistics.
    :param statistics: What it is normalised by, as in ``dataset_statistics.json``.
    :param embodiment_text: Content of the robot's parameter file that it was converted for.
    """

    dataset: Dataset
    weight: float
    key: str
    statistics: Mapping[str, Any]
    embodiment_text: str

    @classmethod
    def open(cls, path: Path, weight: float = 1.0) -> TrainingSet:
        """Read what a folder says of itself.

        :raises TrainingError: If ``dream_vla convert`` did not write it.
        """
        dataset = Dataset(path)
        own = dataset.info.get("dream_vla")
        statistics = dataset.statistics
        if not own or not statistics:
            raise TrainingError(
                f"{path} was not written by 'dream_vla convert', so it lacks statistics and the robot's "
                f"description: convert it first ('dream_vla convert {path} --robot ROBOT --out FOLDER')"
            )
        if not (np.isfinite(weight) and weight > 0.0):
            raise TrainingError(f"{path}: weight {weight} is not positive")
        key = str(own["statistics"])
        return cls(dataset, weight, key, statistics[key], str(own["embodiment"]))


def write_samples(
    store: Path,
    source: TrainingSet,
    embodiment: Embodiment,
    images: Preprocessing,
    chunk: int,
    *,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Write what is missing of a dataset's samples.

    A chunk that reaches beyond the end of its episode goes on with no motion and the gripper as it was.

    :param store: Folder of the samples; one that holds another dataset's is refused.
    :param images: As the model's images are made; the crop is left to training.
    :param chunk: Actions that the model predicts at once.
    :param progress: Called with the frames that are done and all there are.
    :raises TrainingError: If the dataset lacks a camera or was prepared for another model.
    """
    groups = list(_groups(source.dataset.episodes))
    _claim(store, source, embodiment, images, chunk)
    total, done = source.dataset.frames, 0
    for number, group in enumerate(groups):
        name = f"episodes-{number:05d}"
        if not has_shard(store, name):
            parts = [_episode(source, episode, embodiment, images, chunk) for episode in group]
            write_shard(store, name, _joined(parts))
        done += sum(episode.length for episode in group)
        progress(done, total)


def chunks_of(actions: NDArray[np.float32], chunk: int) -> NDArray[np.float32]:
    """Return the chunk that begins at each frame (frames, chunk, 7).

    :param actions: (frames, 7) of one episode: motion, then the gripper.
    """
    still = np.zeros((chunk - 1, actions.shape[1]), dtype=np.float32)
    still[:, -1] = actions[-1, -1]
    padded = np.concatenate([actions, still])
    return np.stack([padded[at : at + chunk] for at in range(len(actions))])


def _groups(episodes: Sequence[DatasetEpisode]) -> Iterator[list[DatasetEpisode]]:
    group: list[DatasetEpisode] = []
    for episode in episodes:
        if group and sum(one.length for one in group) + episode.length > _FRAMES_PER_SHARD:
            yield group
            group = []
        group.append(episode)
    if group:
        yield group


def _claim(
    store: Path, source: TrainingSet, embodiment: Embodiment, images: Preprocessing, chunk: int
) -> None:
    about = {
        "dataset": str(source.dataset.path.resolve()),
        "frames": source.dataset.frames,
        "cameras": [camera.name for camera in embodiment.cameras],
        "size": images.size,
        "jpeg": images.jpeg,
        "chunk": chunk,
    }
    path = store / SOURCE
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != about:
            raise TrainingError(
                f"{path}: the samples are of another dataset or were made otherwise; give another --work "
                "folder, or remove that one"
            )
        return
    store.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _episode(
    source: TrainingSet, episode: DatasetEpisode, embodiment: Embodiment, images: Preprocessing, chunk: int
) -> Samples:
    dataset = source.dataset
    states = bool(layout.proprio_names(embodiment))
    columns = dataset.columns(episode, [layout.ACTION, *([layout.STATE] if states else [])])
    actions = columns[layout.ACTION].astype(np.float32)
    views = [_images(source, episode, camera, images) for camera in embodiment.cameras]
    proprio = columns[layout.STATE] if states else np.zeros((len(actions), 0))
    return Samples(
        images=np.stack(views, axis=1),
        actions=chunks_of(actions, chunk),
        proprio=proprio.astype(np.float32),
        instructions=[episode.instruction] * len(actions),
        episode=np.full(len(actions), episode.index, dtype=np.int64),
    )


def _images(
    source: TrainingSet, episode: DatasetEpisode, camera: Camera, images: Preprocessing
) -> NDArray[np.uint8]:
    dataset = source.dataset
    prepared = dataset.info["dream_vla"]
    size, jpeg = int(prepared["image_size"]), bool(prepared["image_jpeg"])
    if size and (size, jpeg) != (images.size, images.jpeg):
        raise TrainingError(
            f"{dataset.path} holds images prepared as {size} pixels {'with' if jpeg else 'without'} JPEG, "
            f"the model takes {images.words}: convert it again without --image-size"
        )
    whole = Preprocessing(images.size, jpeg=images.jpeg, crop_area=1.0)
    shown = []
    for stored in dataset.images(episode, camera.name):
        image = stored.decode()
        if not size:
            image = preprocess(rotate_180(image) if camera.rotate_180 else image, whole)
        shown.append(image)
    if len(shown) != episode.length:
        raise TrainingError(
            f"{dataset.path}: episode {episode.index} has {len(shown)} images of camera '{camera.name}', not "
            f"{episode.length}"
        )
    return np.stack(shown)


def _joined(parts: Sequence[Samples]) -> Samples:
    return Samples(
        images=np.concatenate([part.images for part in parts]),
        actions=np.concatenate([part.actions for part in parts]),
        proprio=np.concatenate([part.proprio for part in parts]),
        instructions=[text for part in parts for text in part.instructions],
        episode=np.concatenate([part.episode for part in parts]),
    )
