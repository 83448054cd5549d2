"""Where a LeRobot v3 dataset keeps what, and what its features are called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dream_vla_ros.embodiment import Embodiment, ProprioLayout, RotationConvention

VERSION = "v3.0"
INFO = "meta/info.json"
STATISTICS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
MODEL_STATISTICS = "dataset_statistics.json"
REPORT = "meta/conversion.json"
CAMERA_PREFIX = "observation.images."
FILES_PER_CHUNK = 1000
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200

STATE, POSE, OPENING = "observation.state", "pose", "opening"
ACTION, MOTION, TAKEOVER, STAMP = "action", "motion", "takeover", "stamp_ns"
_POSE_NAMES = ["x", "y", "z", "qx", "qy", "qz", "qw"]
_MOTION_NAMES = ["dx", "dy", "dz", "rx", "ry", "rz", "gripper"]
_INDEX_TYPES = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


def features(
    embodiment: Embodiment, images: Mapping[str, tuple[int, int]], video: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """Describe every column and video.

    :param images: Camera names to height and width.
    :param video: What is said about the videos; None where images are stored instead.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, (height, width) in images.items():
        entry: dict[str, Any] = {
            "dtype": "image" if video is None else "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
        }
        if video is not None:
            entry["info"] = {"video.height": height, "video.width": width, **video}
        found[CAMERA_PREFIX + name] = entry
    rotation = {
        RotationConvention.ROTATION_VECTOR: ["rx", "ry", "rz"],
        RotationConvention.EULER_DIFFERENCE: ["droll", "dpitch", "dyaw"],
        RotationConvention.RPY_ROTATION: ["roll", "pitch", "yaw"],
    }[embodiment.action.rotation]
    # Where the model sees no state, other policies may all the same.
    found[STATE] = _vector(proprio_names(embodiment) or _POSE_NAMES)
    found[POSE] = _vector(_POSE_NAMES)
    if embodiment.state.finger_joints:
        found[OPENING] = {"dtype": "float32", "shape": [1], "names": ["opening"]}
    found[ACTION] = _vector(["dx", "dy", "dz", *rotation, "gripper"])
    found[MOTION] = _vector(_MOTION_NAMES)
    found[TAKEOVER] = {"dtype": "bool", "shape": [1], "names": None}
    found[STAMP] = {"dtype": "int64", "shape": [1], "names": None}
    for name, dtype in _INDEX_TYPES.items():
        found[name] = {"dtype": dtype, "shape": [1], "names": None}
    return found


def proprio_names(embodiment: Embodiment) -> list[str]:
    """Name the numbers of the robot's proprio."""
    return {
        ProprioLayout.NONE: [],
        ProprioLayout.XYZ_RPY_GRIPPER: ["x", "y", "z", "roll", "pitch", "yaw", "gripper"],
        ProprioLayout.XYZ_AXIS_ANGLE_FINGERS: ["x", "y", "z", "ax", "ay", "az", "finger_0", "finger_1"],
    }[embodiment.proprio.layout]


def data_schema(described: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """Return the columns of the data files, as Hugging Face's ``datasets`` expects them."""
    fields: list[pa.Field] = []
    hints: dict[str, Any] = {}
    for name, feature in described.items():
        if feature["dtype"] == "video":
            continue
        if feature["dtype"] == "image":
            fields.append(pa.field(name, pa.struct({"bytes": pa.binary(), "path": pa.string()})))
            hints[name] = {"_type": "Image"}
            continue
        kind = pa.bool_() if feature["dtype"] == "bool" else pa.type_for_alias(feature["dtype"])
        value: dict[str, Any] = {"dtype": feature["dtype"], "_type": "Value"}
        length = feature["shape"][0]
        if length == 1:
            fields.append(pa.field(name, kind))
            hints[name] = value
        else:
            fields.append(pa.field(name, pa.list_(pa.field("element", kind), length)))
            hints[name] = {"feature": value, "length": length, "_type": "List"}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": hints}})})


def place(number: int) -> dict[str, int]:
    """Return the chunk and file of the n-th file."""
    return {"chunk_index": number // FILES_PER_CHUNK, "file_index": number % FILES_PER_CHUNK}


def _vector(names: list[str]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(names)], "names": names}
