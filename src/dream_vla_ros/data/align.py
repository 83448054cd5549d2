"""Put cameras, state and commands on the embodiment's period.

The rule: time is cut into ticks of one period, counted from the first moment at which everything is known.
At a tick each camera gives its image with the nearest capture stamp, no further away than
``timing.camera_max_skew``; the state is interpolated between its samples, no further apart than
``timing.state_max_age``; a gripper command holds until the next. Where one of them is missing there is a gap:
nothing is made up, the tick is left out, and what comes before and after are episodes of their own. The
action of a tick is the motion to the next one. What a model is told of the arm is its state at the capture of
the tick's oldest image, as when it drives (``state_history``). Only capture stamps count; time of
arrival is used for gripper commands alone, whose messages have no stamp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from dream_vla_ros.data.arm_state import ArmState
from dream_vla_ros.data.commands import Commands
from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.gripper import command_from_opening
from dream_vla_ros.data.recording import CameraStream
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Array, rotation_between
from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.robot_state import gripper_opening
from dream_vla_ros.series import Bool, Int64, Poses, nearest


class ActionSource(str, Enum):
    """What counts as the action of a tick."""

    REACHED = "reached"
    """The measured motion to the next tick, as in Bridge."""
    COMMANDED = "commanded"
    """The commanded motion to the next tick."""


@dataclass(frozen=True, eq=False)
class Seen:
    """The arm at the capture of each tick's oldest image.

    :param times_ns: (ticks,) when that was.
    """

    times_ns: Int64
    poses: Poses
    joints: Mapping[str, Array]
    opening: Array


@dataclass(frozen=True, eq=False)
class Aligned:
    """A recording on ticks, gaps and all.

    :param times_ns: (ticks,).
    :param valid: (ticks,) whether everything is known there and the action after it too.
    :param missing: What was missing, to the number of ticks without it.
    :param images: Camera names to (ticks,) places in the camera's stream.
    :param motion: From each tick to the next; anything where not valid.
    """

    times_ns: Int64
    valid: Bool
    missing: Mapping[str, int]
    images: Mapping[str, Int64]
    image_stamps_ns: Mapping[str, Int64]
    poses: Poses
    joints: Mapping[str, Array]
    opening: Array
    motion: Motion
    seen: Seen
    notes: tuple[str, ...]


def align(
    embodiment: Embodiment,
    cameras: Mapping[str, CameraStream],
    state: ArmState,
    commands: Commands,
    source: ActionSource,
) -> Aligned:
    """Apply the rule to one recording.

    :raises DataError: If the streams have no time in common, or nothing tells the gripper's action.
    """
    timing = embodiment.timing
    times_ns = ticks(cameras, state, embodiment.action.period_s)
    valid = np.ones(len(times_ns), dtype=bool)
    missing: dict[str, int] = {}
    notes: list[str] = []

    def need(known: Bool, what: str) -> None:
        nonlocal valid
        if lost := int(np.sum(~known)):
            missing[what] = max(lost, missing.get(what, 0))
        valid = valid & known

    images, image_stamps = {}, {}
    for name, stream in cameras.items():
        place = nearest(stream.stamps_ns, times_ns)
        distance = np.abs(stream.stamps_ns[place] - times_ns)
        need(distance <= timing.camera_max_skew * 1e9, f"image of {name}")
        images[name], image_stamps[name] = place, stream.stamps_ns[place]
        repeated = int(np.sum(valid[1:] & valid[:-1] & (np.diff(place) == 0)))
        if repeated:
            notes.append(
                f"{name}: {repeated} frames repeat the image before: the camera is slower than the ticks"
            )
    max_gap_ns = round(timing.state_max_age * 1e9)
    fingers = embodiment.state.finger_joints

    def measure(moments_ns: Int64) -> Seen:
        poses, known = state.poses.at(moments_ns, max_gap_ns)
        need(known, "pose of the end effector")
        positions, known = state.joints_at(moments_ns, fingers, max_gap_ns)
        need(known, "finger joints")
        joints = {name: positions[:, column] for column, name in enumerate(fingers)}
        return Seen(moments_ns, poses, joints, _openings(embodiment, positions))

    now = measure(times_ns)
    seen = measure(np.min(np.stack(list(image_stamps.values())), axis=0))
    poses, joints, opening = now.poses, now.joints, now.opening

    if source is ActionSource.COMMANDED and commands.targets is not None:
        targets, known = commands.targets.held(times_ns)
        # Between two commands that follow each other closely the arm is led along; after the last it is held.
        between, close = commands.targets.at(times_ns, max_gap_ns)
        close_rows = close[:, None]
        targets = Poses(
            times_ns,
            np.where(close_rows, between.positions, targets.positions),
            np.where(close_rows, between.quaternions, targets.quaternions),
        )
        need(known, "commanded pose")
        translation, rotation = _differences(targets)
    else:
        translation, rotation = _differences(poses)

    if commands.gripper is not None:
        held, known = commands.gripper.held(times_ns)
        # Before the first command the gripper was told what it was doing.
        grip = np.where(known, held[:, 0], commands.gripper.values[0, 0])
        if early := int(np.sum(~known)):
            notes.append(f"{early} frames before the first gripper command take its value")
    elif fingers:
        grip = np.full(len(times_ns), np.nan)
        grip[valid] = command_from_opening(opening[valid])
        notes.append("no gripper command was recorded: it is read off how the fingers moved")
    else:
        raise DataError(
            f"nothing tells the gripper's action: record '{embodiment.output.gripper_topic}', or name the "
            "finger joints in parameter state.finger_joints"
        )
    # The last tick has no next one, nor has any before a gap.
    follows = np.append(valid[1:], False)
    if ends := int(np.sum(valid & ~follows)):
        missing["next frame"] = ends
    motion = Motion(translation, rotation, np.append(grip[1:], grip[-1:]))
    return Aligned(
        times_ns,
        valid & follows,
        missing,
        images,
        image_stamps,
        poses,
        joints,
        opening,
        motion,
        seen,
        tuple(notes),
    )


def ticks(cameras: Mapping[str, CameraStream], state: ArmState, period_s: float) -> Int64:
    """Return the times of all ticks of a recording.

    :raises DataError: If the streams have no time in common.
    """
    starts = {name: int(stream.stamps_ns[0]) for name, stream in cameras.items()}
    ends = {name: int(stream.stamps_ns[-1]) for name, stream in cameras.items()}
    starts["state"], ends["state"] = state.poses.range_ns
    latest, earliest = max(starts, key=starts.__getitem__), min(ends, key=ends.__getitem__)
    if starts[latest] > ends[earliest]:
        gap = (starts[latest] - ends[earliest]) * 1e-9
        raise DataError(
            f"'{latest}' begins {gap:.1f} s after '{earliest}' has ended, so they have no time in common; if "
            "they were recorded together, their clocks disagree"
        )
    count = int((ends[earliest] - starts[latest]) * 1e-9 / period_s + 1e-6) + 1
    return starts[latest] + np.round(np.arange(count) * (period_s * 1e9)).astype(np.int64)


def _openings(embodiment: Embodiment, positions: Array) -> Array:
    names = embodiment.state.finger_joints
    openings = [
        gripper_opening(dict(zip(names, row, strict=True)), embodiment.state) for row in positions.tolist()
    ]
    return np.array([np.nan if opening is None else opening for opening in openings])


def _differences(poses: Poses) -> tuple[Array, Array]:
    """Return the motion from each pose to the next; none after the last."""
    translation, rotation = np.zeros((len(poses), 3)), np.zeros((len(poses), 3))
    translation[:-1] = np.diff(poses.positions, axis=0)
    for index in range(len(poses) - 1):
        rotation[index] = rotation_between(poses.quaternions[index], poses.quaternions[index + 1])
    return translation, rotation
