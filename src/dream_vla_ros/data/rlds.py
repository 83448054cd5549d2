"""Read episodes stored as RLDS, as the Open X-Embodiment and LIBERO sets are; needs tensorflow-datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dream_vla_ros.data.episode import Episode, Origin, StoredImage
from dream_vla_ros.data.errors import DatasetError
from dream_vla_ros.data.foreign_episodes import Numbers, build_episode
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.images import RGBImage

# What sets call the instruction, and where: in the step or in its observation.
_INSTRUCTIONS = ("language_instruction", "natural_language_instruction")


@dataclass(frozen=True)
class RldsNames:
    """What an RLDS set calls things.

    :param cameras: Camera names of the robot's file to keys of the observation. Where not named: ``image`` or
        ``image_0`` for the first camera, ``wrist_image`` for the second.
    :param state: Key of the observation with the arm's state in the robot's proprio layout.
    :param action: Key of the step with the action in the robot's convention.
    """

    cameras: Mapping[str, str] = field(default_factory=dict)
    state: str = "state"
    action: str = "action"


_USUAL_CAMERAS = (("image", "image_0", "exterior_image_1_left"), ("wrist_image", "image_wrist", "image_1"))


@dataclass(frozen=True, eq=False)
class MemoryImages:
    """Images that are in memory."""

    images: list[RGBImage]

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[StoredImage]:
        for frame in range(len(self.images)):
            yield self[frame]

    def __getitem__(self, frame: int) -> StoredImage:
        return StoredImage(partial(self.images.__getitem__, frame))


def is_rlds(path: Path) -> bool:
    """Whether a folder is a version of a tensorflow dataset."""
    return (path / "dataset_info.json").is_file() and (path / "features.json").is_file()


def rlds_episodes(path: Path, embodiment: Embodiment, names: RldsNames) -> Iterator[Episode]:
    """Read the episodes of all splits, in their stored order.

    :param path: Folder of one version, with ``dataset_info.json``.
    :raises DatasetError: If tensorflow-datasets is missing, or names or shapes do not fit.
    """
    builder = _builder(path)
    number = 0
    for split in sorted(builder.info.splits):
        # Interleaving or shuffling files would give another order every time.
        config = _datasets().ReadConfig(interleave_cycle_length=1, shuffle_seed=0)
        for record in _datasets().as_numpy(
            builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        ):
            steps = list(record["steps"])
            where = f"{path}: episode {number} ({split})"
            if steps:
                yield _episode(steps, embodiment, names, Origin(path.parent.name, number, 0), where)
            number += 1


def _episode(
    steps: list[Mapping[str, Any]], embodiment: Embodiment, names: RldsNames, origin: Origin, where: str
) -> Episode:
    observation = steps[0]["observation"]
    images = {}
    for index, camera in enumerate(embodiment.cameras):
        usual = _USUAL_CAMERAS[index] if index < len(_USUAL_CAMERAS) else ()
        wanted = [names.cameras[camera.name]] if camera.name in names.cameras else [*usual, camera.name]
        key = next((one for one in wanted if one in observation), None)
        if key is None:
            raise DatasetError(
                f"{where}: no image for camera '{camera.name}' ({' or '.join(wanted)}); the observation has "
                f"{', '.join(sorted(observation))}; name it with --camera {camera.name}:=KEY"
            )
        images[camera.name] = MemoryImages([np.asarray(step["observation"][key]) for step in steps])
    proprio = None
    if names.state in observation:
        proprio = np.array([step["observation"][names.state] for step in steps], dtype=np.float64)
    if names.action not in steps[0]:
        raise DatasetError(f"{where}: no '{names.action}'; a step has {', '.join(sorted(steps[0]))}")
    actions = np.array([step[names.action] for step in steps], dtype=np.float64)
    return build_episode(
        embodiment, _instruction(steps[0], where), images, Numbers(actions, proprio), origin, where
    )


def _instruction(step: Mapping[str, Any], where: str) -> str:
    for holder in (step, step["observation"]):
        for key in _INSTRUCTIONS:
            if key in holder:
                value = holder[key]
                return value.decode() if isinstance(value, bytes) else str(value)
    raise DatasetError(f"{where}: no instruction ({' or '.join(_INSTRUCTIONS)})")


def _datasets() -> Any:
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise DatasetError(
            "reading RLDS sets needs tensorflow-datasets and tensorflow, which are not installed: "
            "pip install tensorflow-datasets tensorflow-cpu, or the package's extra 'rlds'"
        ) from error
    return tensorflow_datasets


def _builder(path: Path) -> Any:
    datasets = _datasets()
    try:
        return datasets.builder_from_directory(str(path))
    except Exception as error:  # tensorflow-datasets raises classes of its own for every fault of a set
        raise DatasetError(f"{path}: not a tensorflow dataset: {error}") from error
