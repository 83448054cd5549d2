"""Episodes that others recorded, with actions in a model's convention already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dream_vla_ros.data import dataset_layout as layout
from dream_vla_ros.data.dataset_read import Dataset, DatasetEpisode
from dream_vla_ros.data.episode import Episode, EpisodeReport, ImageSource, Origin
from dream_vla_ros.data.errors import DatasetError
from dream_vla_ros.embodiment import Embodiment, ProprioLayout
from dream_vla_ros.geometry import (
    Array,
    normalize_quaternion,
    quaternion_from_rotation_vector,
    quaternion_from_rpy,
    quaternion_multiply,
)
from dream_vla_ros.policy.actions import ACTION_SIZE, ActionCodec
from dream_vla_ros.robot_state import gripper_opening
from dream_vla_ros.series import Poses

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class FeatureNames:
    """What a foreign dataset calls things.

    :param cameras: Camera names of the robot's file to cameras of the dataset; the same where not named.
    :param state: Feature with the arm's state in the robot's proprio layout.
    :param action: Feature with actions in the robot's convention.
    """

    cameras: Mapping[str, str] = field(default_factory=dict)
    state: str = layout.STATE
    action: str = layout.ACTION


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a foreign episode says in numbers.

    :param actions: (frames, 7) in the robot's convention.
    :param proprio: (frames, numbers) in the robot's layout; None where there is none.
    :param poses: (frames, 7) position and quaternion; None where they follow from the proprio, if at all.
    """

    actions: npt.NDArray[np.floating]
    proprio: npt.NDArray[np.floating] | None = None
    poses: npt.NDArray[np.floating] | None = None


def dataset_episodes(
    dataset: Dataset, embodiment: Embodiment, names: FeatureNames, which: range | None = None
) -> Iterator[Episode]:
    """Read episodes of a LeRobot dataset as this robot's.

    :param which: Which of its episodes; all by default.
    :raises DatasetError: If rate, cameras or numbers do not fit the robot.
    """
    rate = embodiment.action.rate
    if abs(dataset.rate - rate) > 1e-3 * rate:
        raise DatasetError(
            f"{dataset.path}: recorded at {dataset.rate:g} Hz, but parameter 'action.rate' is {rate:g} Hz; "
            "actions of another rate mean other motions"
        )
    for episode in dataset.episodes[which.start : which.stop] if which else dataset.episodes:
        yield _from_dataset(dataset, episode, embodiment, names)


def _from_dataset(
    dataset: Dataset, episode: DatasetEpisode, embodiment: Embodiment, names: FeatureNames
) -> Episode:
    where = f"{dataset.path}: episode {episode.index}"
    columns = [names.action]
    pose_known = layout.POSE in dataset.features
    columns += [layout.POSE] if pose_known else []
    columns += [names.state] if names.state in dataset.features else []
    values = dataset.columns(episode, columns)
    images = {
        camera.name: dataset.images(episode, names.cameras.get(camera.name, camera.name))
        for camera in embodiment.cameras
    }
    numbers = Numbers(values[names.action], values.get(names.state), values.get(layout.POSE))
    origin = Origin(dataset.path.name, episode.index, 0)
    return build_episode(embodiment, episode.instruction, images, numbers, origin, where, episode.success)


def build_episode(
    embodiment: Embodiment,
    instruction: str,
    images: Mapping[str, ImageSource],
    numbers: Numbers,
    origin: Origin,
    where: str,
    success: bool | None = None,
) -> Episode:
    """Make an episode of numbers in a model's convention.

    :param where: Dataset and episode, for messages.
    :raises DatasetError: If shapes do not fit the robot, or numbers are not finite.
    """
    actions = np.asarray(numbers.actions, dtype=np.float64)
    frames = len(actions)
    if actions.ndim != 2 or actions.shape[1] != ACTION_SIZE:
        raise DatasetError(
            f"{where}: actions have shape {actions.shape}; a Cartesian arm with a gripper has (frames, "
            f"{ACTION_SIZE}), so this dataset is of another kind of robot or control"
        )
    state, state_layout = _state(embodiment, numbers.proprio, frames, where)
    for name, values in (("action", actions), ("state", state)):
        if not np.isfinite(values).all():
            frame = int(np.argwhere(~np.isfinite(values))[0][0])
            raise DatasetError(f"{where}: {name} of frame {frame} is not finite")
    period_s = embodiment.action.period_s
    times_ns = origin.first_ns + np.round(np.arange(frames) * period_s * _NS_PER_S).astype(np.int64)
    poses = _poses(embodiment, numbers, state, state_layout, times_ns, where)
    codec = ActionCodec.from_embodiment(embodiment)
    motion = codec.to_motion(actions, poses.quaternions[0])
    fingers, opening = _fingers(embodiment, state, state_layout)
    return Episode(
        instruction=instruction,
        period_s=period_s,
        times_ns=times_ns,
        images=images,
        image_stamps_ns=dict.fromkeys(images, times_ns),
        poses=poses,
        joints=fingers,
        opening=opening,
        motion=motion,
        actions=actions,
        proprio=state if embodiment.proprio.layout is state_layout else np.zeros((frames, 0)),
        takeover=np.zeros(frames, dtype=bool),
        origin=origin,
        success=success,
        report=EpisodeReport(frames, frames),
    )


def _state(
    embodiment: Embodiment, given: npt.NDArray[np.floating] | None, frames: int, where: str
) -> tuple[Array, ProprioLayout]:
    """Return the arm's state and its layout, which its size tells where the model sees none."""
    wanted = embodiment.proprio.layout
    if wanted is ProprioLayout.NONE:
        width = given.shape[1] if given is not None and given.ndim == 2 else 0
        known = {one.size: one for one in ProprioLayout}
        found = known.get(width, ProprioLayout.NONE)
        return np.asarray(given if found.size else np.zeros((frames, 0)), dtype=np.float64), found
    if given is None or given.shape != (frames, wanted.size):
        have = "missing" if given is None else f"of shape {given.shape}"
        raise DatasetError(
            f"{where}: the state is {have}, but parameter 'proprio.layout' is {wanted.value}: "
            f"({frames}, {wanted.size})"
        )
    return np.asarray(given, dtype=np.float64), wanted


def _poses(
    embodiment: Embodiment,
    numbers: Numbers,
    state: Array,
    state_layout: ProprioLayout,
    times_ns: npt.NDArray[np.int64],
    where: str,
) -> Poses:
    if numbers.poses is not None:
        given = np.asarray(numbers.poses, dtype=np.float64)
        return Poses(times_ns, given[:, :3], np.array([normalize_quaternion(one) for one in given[:, 3:7]]))
    if state_layout is ProprioLayout.XYZ_AXIS_ANGLE_FINGERS:
        turned = [quaternion_from_rotation_vector(row) for row in state[:, 3:6]]
    elif state_layout is ProprioLayout.XYZ_RPY_GRIPPER:
        reference = embodiment.proprio.reference_quaternion
        turned = [quaternion_multiply(quaternion_from_rpy(row), reference) for row in state[:, 3:6]]
    else:
        raise DatasetError(
            f"{where}: nothing tells where the arm was: there is no '{layout.POSE}', and the state has "
            f"not {' or '.join(str(one.size) for one in ProprioLayout if one.size)} numbers"
        )
    return Poses(times_ns, state[:, :3], np.array(turned))


def _fingers(
    embodiment: Embodiment, state: Array, state_layout: ProprioLayout
) -> tuple[dict[str, Array], Array]:
    names = embodiment.state.finger_joints
    if state_layout is ProprioLayout.XYZ_RPY_GRIPPER:
        return {}, state[:, 6]
    if state_layout is not ProprioLayout.XYZ_AXIS_ANGLE_FINGERS or len(names) != 2:
        return {}, np.full(len(state), np.nan)
    joints = {name: state[:, 6 + column] for column, name in enumerate(names)}
    rows = state[:, 6:8].tolist()
    openings = [gripper_opening(dict(zip(names, row, strict=True)), embodiment.state) for row in rows]
    return joints, np.array([np.nan if value is None else value for value in openings])


def split_episodes(path: Path, share: int = 25) -> list[range]:
    """Cut a dataset into pieces that are worked on one at a time.

    :param share: Episodes in each.
    """
    count = len(Dataset(path).episodes)
    return [range(start, min(start + share, count)) for start in range(0, count, share)]
