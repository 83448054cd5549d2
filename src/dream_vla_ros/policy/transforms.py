"""Small steps between the cameras and the model's images, composed per robot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.images import Preprocessing, preprocess, rotate_180
from dream_vla_ros.policy.observation import Observation


class Transform(Protocol):
    """One step from an observation to another."""

    def __call__(self, observation: Observation) -> Observation:
        """Return the changed observation; the given one stays as it is."""


@dataclass(frozen=True)
class Compose:
    """Several steps, one after the other."""

    steps: Sequence[Transform]

    def __call__(self, observation: Observation) -> Observation:
        """Apply every step in order."""
        for step in self.steps:
            observation = step(observation)
        return observation


@dataclass(frozen=True)
class SelectCameras:
    """Keep the named cameras, in the order the model sees them.

    :param cameras: Names, third person first.
    """

    cameras: tuple[str, ...]

    def __call__(self, observation: Observation) -> Observation:
        """Sort and filter the images.

        :raises KeyError: If a camera is missing.
        """
        missing = [name for name in self.cameras if name not in observation.images]
        if missing:
            raise KeyError(f"observation has no image of camera {', '.join(missing)}")
        return replace(
            observation,
            images={name: observation.images[name] for name in self.cameras},
            stamps_ns={name: observation.stamps_ns[name] for name in self.cameras},
        )


@dataclass(frozen=True)
class Rotate180:
    """Turn the images of some cameras upside down, as the model's training images were.

    :param cameras: Their names.
    """

    cameras: frozenset[str]

    def __call__(self, observation: Observation) -> Observation:
        """Turn the images."""
        if not self.cameras:
            return observation
        images = {
            name: rotate_180(image) if name in self.cameras else image
            for name, image in observation.images.items()
        }
        return replace(observation, images=images)


@dataclass(frozen=True)
class PreprocessImages:
    """Bring every image to the model's size as in training.

    :param settings: Size, JPEG round trip and crop.
    """

    settings: Preprocessing

    def __call__(self, observation: Observation) -> Observation:
        """Resize and crop the images."""
        images = {name: preprocess(image, self.settings) for name, image in observation.images.items()}
        return replace(observation, images=images)


def upright_images(embodiment: Embodiment) -> Compose:
    """Return the steps from a robot's camera images to those of the model's cameras, upright.

    :param embodiment: Names the cameras, their order and which hang upside down.
    """
    return Compose(
        (
            SelectCameras(tuple(camera.name for camera in embodiment.cameras)),
            Rotate180(frozenset(camera.name for camera in embodiment.cameras if camera.rotate_180)),
        )
    )


def model_images(embodiment: Embodiment, settings: Preprocessing) -> Compose:
    """Return the steps from a robot's camera images to those the model sees.

    :param embodiment: Names the cameras, their order and which hang upside down.
    """
    return Compose((*upright_images(embodiment).steps, PreprocessImages(settings)))
