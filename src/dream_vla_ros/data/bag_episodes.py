"""From a bag to episodes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dream_vla_ros.data.align import ActionSource, Aligned, align
from dream_vla_ros.data.arm_state import read_arm_state
from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.commands import read_commands
from dream_vla_ros.data.episode import Episode, EpisodeReport, Origin, StoredImage, runs
from dream_vla_ros.data.episode_metadata import EpisodeMetadata, RecordingState
from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.idle import IdleRule, keep
from dream_vla_ros.data.recording import CameraStream, Recording
from dream_vla_ros.data.topics import TopicNames
from dream_vla_ros.embodiment import Embodiment, ProprioLayout
from dream_vla_ros.geometry import Array
from dream_vla_ros.images import ImageError, RGBImage, decode
from dream_vla_ros.policy.actions import ActionCodec, Motion
from dream_vla_ros.policy.proprio import ProprioWriter
from dream_vla_ros.robot_state import RobotState
from dream_vla_ros.series import Int64

GOAL_TOPIC = "active_goal"
_GOAL_TYPES = ("dream_vla_msgs/msg/ActiveGoal",)
# Rotations beyond two thirds of a half turn count as about half a turn.
_HALF_TURN_FROM = 2.0 * np.pi / 3.0


@dataclass(frozen=True)
class BagRules:
    """How bags are turned into episodes.

    :param task: Instruction of all episodes; empty takes what each bag says.
    :param default_task: Instruction where a bag says none; empty refuses it.
    :param include_failed: Keep episodes that failed or were cut off.
    :param min_frames: Shorter episodes are left out; 0 takes one chunk of the embodiment.
    :param urdf: Robot description for bags that hold none.
    """

    actions: ActionSource = ActionSource.REACHED
    idle: IdleRule = field(default_factory=IdleRule)
    task: str = ""
    default_task: str = ""
    include_failed: bool = False
    min_frames: int = 0
    names: TopicNames = field(default_factory=TopicNames)
    clock_offsets_s: Mapping[str, float] = field(default_factory=dict)
    urdf: str = ""


@dataclass(frozen=True, eq=False)
class BagImages:
    """Images of one camera, fetched from the bag when asked for.

    :param numbers: (frames,) numbers of the messages in the topic's index.
    """

    bag: Bag
    topic: str
    numbers: Int64

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[StoredImage]:
        for frame in range(len(self.numbers)):
            yield self[frame]

    def __getitem__(self, frame: int) -> StoredImage:
        number = int(self.numbers[frame])
        for _, message in self.bag.messages(self.topic, [number]):
            encoded = bytes(message.data) if hasattr(message, "format") else b""
            return StoredImage(partial(decode, message, self.topic), encoded)
        return StoredImage(partial(_refuse, f"{self.bag.path}: message {number} of {self.topic} is damaged"))


@dataclass(frozen=True, eq=False)
class BagEpisodes:
    """What one bag gave.

    :param episodes: In order of time; none where the bag was left out.
    :param left_out: Why the bag as a whole was left out; empty where it was not.
    :param report: What became of the bag's time, over all its episodes.
    """

    episodes: tuple[Episode, ...]
    left_out: str
    report: EpisodeReport


def read_episodes(
    bag: Bag,
    embodiment: Embodiment,
    rules: BagRules,
    spoiled: Mapping[str, Collection[int]] | None = None,
) -> BagEpisodes:
    """Read all episodes of a bag; it must stay open while their images are read.

    :param spoiled: Camera names to numbers of messages whose images are known to be damaged.
    :raises DataError: If the bag lacks a topic, its clocks disagree or nothing says what was done.
    """
    known = EpisodeMetadata.from_custom_data(bag.metadata.custom if bag.metadata else {})
    damage = tuple(str(one) for one in bag.damage.entries)
    if known is not None and not rules.include_failed and (reason := _unwanted(known)):
        return BagEpisodes((), reason, EpisodeReport(notes=damage))
    recording = Recording(bag, embodiment, rules.names, rules.clock_offsets_s)
    spoiled = spoiled or {}
    cameras = {
        camera.name: recording.camera(camera, spoiled.get(camera.name, ())) for camera in embodiment.cameras
    }
    state = read_arm_state(recording, rules.urdf)
    commands = read_commands(recording, motion=rules.actions is ActionSource.COMMANDED)
    recording.check_clocks()
    aligned = align(embodiment, cameras, state, commands, rules.actions)
    dropped = {f"without {what}": count for what, count in aligned.missing.items()}
    episodes: list[Episode] = []
    told = rules.task or (known.task if known else "")
    for instruction, active in _instructions(recording, told, rules.default_task, aligned):
        for start, end in runs(aligned.valid & active):
            part = np.arange(start, end)
            motion = _part(aligned.motion, part)
            kept = keep(motion, embodiment.action.period_s, rules.idle)
            _count(dropped, "idle", int(np.sum(~kept)))
            part = part[kept]
            if len(part) < (rules.min_frames or embodiment.action.chunk_size):
                _count(dropped, "in pieces too short to learn from", len(part))
                continue
            made = _Maker(recording, aligned, cameras, known)
            episodes.append(made.episode(instruction, part, len(episodes)))
    # A conversion that begins again with the same bag meets the same damage again.
    damage = tuple(dict.fromkeys(str(one) for one in bag.damage.entries))
    notes = (*damage, *recording.notes, *aligned.notes)
    if known is not None and known.dropped:
        notes += (f"the recorder dropped {dict(known.dropped)}",)
    kept_frames = sum(len(episode) for episode in episodes)
    left = len(aligned.times_ns) - kept_frames - int(np.sum(~aligned.valid))
    left -= sum(dropped.get(key, 0) for key in ("idle", "in pieces too short to learn from"))
    _count(dropped, "outside any goal", left)
    report = EpisodeReport(len(aligned.times_ns), kept_frames, dropped, notes)
    return BagEpisodes(tuple(episodes), "" if episodes else "nothing usable was left", report)


def _refuse(problem: str) -> RGBImage:
    raise ImageError(problem)


def _unwanted(known: EpisodeMetadata) -> str:
    if known.success is False:
        return "the episode failed (--include-failed keeps it)"
    if known.state is not RecordingState.FINISHED:
        return "the recording was cut off, so nobody said whether it succeeded (--include-failed keeps it)"
    return ""


def _instructions(
    recording: Recording, task: str, default: str, aligned: Aligned
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Say what was done when.

    :returns: Instructions, each with the ticks (ticks,) it holds for.
    """
    if task:
        yield task, np.ones(len(aligned.times_ns), dtype=bool)
        return
    topic = recording.maybe(GOAL_TOPIC, _GOAL_TYPES, "the active goal")
    if topic is None and default:
        yield default, np.ones(len(aligned.times_ns), dtype=bool)
        return
    if topic is None:
        raise DataError(
            f"{recording.bag.path}: nothing says what was done in it: pass the instruction with --task, or "
            f"record '{GOAL_TOPIC}'"
        )
    goals: list[tuple[int, bytes, str]] = []
    for stamp, message in recording.stamped(topic):
        goals.append((stamp, bytes(message.goal_id.uuid), message.instruction if message.active else ""))
    stamps = np.array([stamp for stamp, _, _ in goals], dtype=np.int64)
    newest = np.searchsorted(stamps, aligned.times_ns, side="right") - 1
    keys = [(goals[place][1], goals[place][2]) if place >= 0 else (b"", "") for place in newest]
    for key in dict.fromkeys(keys):
        if key[1]:
            yield key[1], np.array([one == key for one in keys])


def _part(motion: Motion, part: Int64) -> Motion:
    return Motion(motion.translation[part], motion.rotation[part], motion.gripper[part])


def _count(dropped: dict[str, int], what: str, number: int) -> None:
    if number > 0:
        dropped[what] = dropped.get(what, 0) + number


@dataclass(frozen=True, eq=False)
class _Maker:
    recording: Recording
    aligned: Aligned
    cameras: Mapping[str, CameraStream]
    known: EpisodeMetadata | None

    def episode(self, instruction: str, part: Int64, number: int) -> Episode:
        aligned, embodiment = self.aligned, self.recording.embodiment
        times_ns = aligned.times_ns[part]
        images: dict[str, Any] = {
            name: BagImages(self.recording.bag, stream.topic, stream.numbers[aligned.images[name][part]])
            for name, stream in self.cameras.items()
        }
        motion = _part(aligned.motion, part)
        poses = aligned.poses.part(part)
        joints = {name: values[part] for name, values in aligned.joints.items()}
        opening = aligned.opening[part]
        takeovers = self.known.takeovers if self.known else ()
        human = np.zeros(len(part), dtype=bool)
        for one in takeovers:
            human |= (times_ns >= one.start_ns) & (one.end_ns is None or times_ns < one.end_ns)
        return Episode(
            instruction=instruction,
            period_s=embodiment.action.period_s,
            times_ns=times_ns,
            images=images,
            image_stamps_ns={name: stamps[part] for name, stamps in aligned.image_stamps_ns.items()},
            poses=poses,
            joints=joints,
            opening=opening,
            motion=motion,
            actions=model_actions(embodiment, motion, aligned.seen.poses.quaternions[part]),
            proprio=model_proprio(embodiment, self._states(part)),
            takeover=human,
            origin=Origin(self.recording.bag.name, number, int(times_ns[0])),
            success=self.known.success if self.known else None,
            notes=self.known.notes if self.known else "",
        )

    def _states(self, part: Int64) -> list[RobotState]:
        seen = self.aligned.seen
        return [
            RobotState(
                int(seen.times_ns[tick]),
                int(seen.times_ns[tick]),
                seen.poses[tick],
                {name: float(values[tick]) for name, values in seen.joints.items()},
                int(seen.times_ns[tick]),
                float(seen.opening[tick]) if np.isfinite(seen.opening[tick]) else None,
            )
            for tick in part.tolist()
        ]


def model_actions(embodiment: Embodiment, motion: Motion, quaternions: Array) -> Array:
    """Return the actions (frames, 7) that a model of this robot would have to predict for a motion.

    :param quaternions: (frames, 4) measured orientation at each frame, x, y, z, w.
    """
    codec = ActionCodec.from_embodiment(embodiment)
    if not codec.needs_orientation:
        return codec.to_actions(motion, quaternions[0])
    steps = [
        codec.to_actions(_part(motion, np.array([frame])), quaternions[frame]) for frame in range(len(motion))
    ]
    return np.concatenate(steps)


def model_proprio(embodiment: Embodiment, states: list[RobotState]) -> Array:
    """Return the proprio (frames, numbers) that a model of this robot sees; angles go on without jumps."""
    write = ProprioWriter(embodiment)
    if not write.size or not states:
        return np.zeros((len(states), write.size))
    rows = [write(states[0], near=_beginning(embodiment, write(states[0])))]
    for state in states[1:]:
        rows.append(write(state, near=rows[-1]))
    return np.array(rows)


def _beginning(embodiment: Embodiment, first: Array) -> Array:
    """Return what the angles of an episode's first frame should be near to, alike in all episodes.

    About half a turn, where a gripper that points down is, a rotation vector has two forms that are far
    apart, and noise decides which is the shorter. There the one whose largest number is positive is taken.
    """
    near = first.copy()
    vector = first[3:6]
    if embodiment.proprio.layout is ProprioLayout.XYZ_AXIS_ANGLE_FINGERS:
        largest = vector[np.argmax(np.abs(vector))]
        if np.linalg.norm(vector) > _HALF_TURN_FROM and largest < 0.0:
            near[3:6] = -vector
    return near
