"""Small datasets in LeRobot's layout, written by the conversion's own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dream_vla_ros.data.dataset_stage import ImageRules, ImageStorage, stage
from dream_vla_ros.data.dataset_write import assemble
from dream_vla_ros.data.episode import Episode, Origin, StoredImage
from dream_vla_ros.policy.actions import ActionCodec, Motion
from dream_vla_ros.series import Poses

WORDS = ("pick up the red block", "put the blue block on the green one")


class Pictures(list):
    """Images in memory."""

    def __init__(self, images):
        super().__init__(StoredImage(lambda image=image: image) for image in images)


def make_episode(embodiment, number, frames=9, size=48):
    """An arm that moves at random, seen by cameras that see noise."""
    rng = np.random.default_rng(number)
    period_s = embodiment.action.period_s
    times = (np.arange(frames) * period_s * 1e9).astype(np.int64)
    motion = Motion(
        rng.uniform(-0.02, 0.02, (frames, 3)),
        rng.uniform(-0.05, 0.05, (frames, 3)),
        rng.integers(0, 2, frames).astype(float),
    )
    actions = ActionCodec.from_embodiment(embodiment).to_actions(motion, np.array([0.0, 0.0, 0.0, 1.0]))
    return Episode(
        instruction=WORDS[number % 2],
        period_s=period_s,
        times_ns=times,
        images={
            camera.name: Pictures(rng.integers(0, 256, (frames, size, size, 3), dtype=np.uint8))
            for camera in embodiment.cameras
        },
        image_stamps_ns={camera.name: times for camera in embodiment.cameras},
        poses=Poses(times, rng.uniform(0.1, 0.3, (frames, 3)), np.tile([0.0, 0.0, 0.0, 1.0], (frames, 1))),
        joints={},
        opening=rng.uniform(0.0, 1.0, frames),
        motion=motion,
        actions=actions,
        proprio=rng.uniform(0.0, 0.3, (frames, embodiment.proprio.layout.size)),
        takeover=np.zeros(frames, dtype=bool),
        origin=Origin(f"bag{number}", 0, 0),
        success=True,
    )


def write_dataset(folder: Path, embodiment, robot_file: Path, episodes=4, key="tabletop", first=0, **rules):
    """Write a dataset of random episodes.

    :returns: Its folder.
    """
    how = ImageRules(ImageStorage.EXACT, **rules)
    aside = folder.with_name(f"{folder.name}-staged")
    aside.mkdir(parents=True)
    staged = [
        (aside, stage(make_episode(embodiment, first + at), embodiment, how, aside, f"e{at}"))
        for at in range(episodes)
    ]
    folder.mkdir(parents=True)
    assemble(staged, embodiment, robot_file.read_text(encoding="utf-8"), how, folder, key=key)
    return folder
