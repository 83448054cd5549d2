"""Which preprocessing a checkpoint was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dream_vla_ros.images import Preprocessing
from dream_vla_ros.policy.policy import PolicyError

# Published checkpoints say nothing in their config.json; all were trained like this.
PUBLISHED = Preprocessing(224, jpeg=True, crop_area=0.9)


def preprocessing_of(config: Mapping[str, Any], source: str) -> Preprocessing:
    """Read what a checkpoint says of its images; what it leaves out is as published.

    :param config: Contents of ``config.json``; the keys are ``image_size``, ``image_jpeg`` and
        ``image_crop_area``.
    :param source: Path of that file, for messages.
    :raises PolicyError: Naming file and key.
    """
    size = config.get("image_size", PUBLISHED.size)
    jpeg = config.get("image_jpeg", PUBLISHED.jpeg)
    area = config.get("image_crop_area", PUBLISHED.crop_area)
    if isinstance(size, bool) or not isinstance(size, int):
        raise PolicyError(f"{source}: image_size is {size!r}, not a number of pixels")
    if not isinstance(jpeg, bool):
        raise PolicyError(f"{source}: image_jpeg is {jpeg!r}, not true or false")
    if isinstance(area, bool) or not isinstance(area, (int, float)):
        raise PolicyError(f"{source}: image_crop_area is {area!r}, not a share of the area")
    try:
        return Preprocessing(size, jpeg=jpeg, crop_area=float(area))
    except ValueError as error:
        raise PolicyError(f"{source}: {error}") from error
