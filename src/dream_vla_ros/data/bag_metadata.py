"""The metadata.yaml of a rosbag2 folder: read any version, write version 9."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dream_vla_ros.data.errors import BagError

FILE_NAME = "metadata.yaml"
_ROOT = "rosbag2_bagfile_information"
# What Jazzy writes; rosbag2 and rosbags read it and everything older.
_VERSION = 9


@dataclass(frozen=True)
class TopicCount:
    """A topic as the metadata lists it."""

    name: str
    type: str
    count: int
    serialization: str = "cdr"
    qos: str = ""
    type_hash: str = ""


@dataclass(frozen=True)
class BagMetadata:
    """What metadata.yaml says.

    :param storage: ``mcap`` or ``sqlite3``.
    :param files: Storage files in order, named relative to the folder.
    :param compression_mode: ``file``, ``message`` or empty.
    :param custom: Custom data: what this package keeps about an episode, among others.
    """

    storage: str
    files: tuple[str, ...]
    topics: tuple[TopicCount, ...] = ()
    start_ns: int = 0
    duration_ns: int = 0
    compression_format: str = ""
    compression_mode: str = ""
    custom: Mapping[str, str] = field(default_factory=dict)

    @property
    def message_count(self) -> int:
        """Messages of all topics."""
        return sum(topic.count for topic in self.topics)

    @classmethod
    def read(cls, folder: Path) -> BagMetadata:
        """Read a bag folder's metadata.yaml.

        :raises BagError: If it is not what rosbag2 writes.
        """
        path = folder / FILE_NAME
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, BagError) as error:
            raise BagError(f"{path}: {error}") from error

    @classmethod
    def parse(cls, text: str) -> BagMetadata:
        """Read the text of a metadata.yaml, or of the copy that storage files hold of it.

        :raises BagError: If it is not what rosbag2 writes.
        """
        try:
            content = yaml.safe_load(text)
            information = content.get(_ROOT, content)
            return cls(
                storage=str(information["storage_identifier"]),
                files=tuple(Path(name).name for name in information["relative_file_paths"]),
                topics=tuple(_topic(entry) for entry in information["topics_with_message_count"] or ()),
                start_ns=int(information["starting_time"]["nanoseconds_since_epoch"]),
                duration_ns=int(information["duration"]["nanoseconds"]),
                compression_format=str(information.get("compression_format") or ""),
                compression_mode=_mode(information.get("compression_mode")),
                custom={
                    str(key): str(value) for key, value in (information.get("custom_data") or {}).items()
                },
            )
        except yaml.YAMLError as error:
            raise BagError(f"not YAML: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BagError(f"not the metadata of a bag: {error!r}") from error

    def dump(self) -> str:
        """Return the text of metadata.yaml."""
        return yaml.safe_dump({_ROOT: self._information()}, sort_keys=False, width=1 << 16)

    def dump_inner(self) -> str:
        """Return the copy that storage files hold."""
        return yaml.safe_dump(self._information(), sort_keys=False, width=1 << 16)

    def write(self, folder: Path) -> None:
        """Replace metadata.yaml in one step that survives a power cut."""
        write_atomically(folder / FILE_NAME, self.dump().encode())

    def _information(self) -> dict[str, Any]:
        times = {
            "duration": {"nanoseconds": self.duration_ns},
            "starting_time": {"nanoseconds_since_epoch": self.start_ns},
        }
        return {
            "version": _VERSION,
            "storage_identifier": self.storage,
            **times,
            "message_count": self.message_count,
            "topics_with_message_count": [
                {
                    "topic_metadata": {
                        "name": topic.name,
                        "type": topic.type,
                        "serialization_format": topic.serialization,
                        "offered_qos_profiles": yaml.safe_load(topic.qos) if topic.qos else [],
                        "type_description_hash": topic.type_hash,
                    },
                    "message_count": topic.count,
                }
                for topic in self.topics
            ],
            "compression_format": self.compression_format,
            "compression_mode": self.compression_mode,
            "relative_file_paths": list(self.files),
            "files": [{"path": name, **times, "message_count": self.message_count} for name in self.files],
            "custom_data": dict(self.custom) or None,
            "ros_distro": "unknown",
        }


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that after a crash either the old or the new content is there, whole."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _topic(entry: Mapping[str, Any]) -> TopicCount:
    topic = entry["topic_metadata"]
    qos = topic.get("offered_qos_profiles") or ""
    return TopicCount(
        name=str(topic["name"]),
        type=str(topic["type"]),
        count=int(entry["message_count"]),
        serialization=str(topic.get("serialization_format", "cdr")),
        qos=qos if isinstance(qos, str) else yaml.safe_dump(qos),
        type_hash=str(topic.get("type_description_hash") or ""),
    )


def _mode(value: object) -> str:
    mode = str(value or "").lower()
    return "" if mode == "none" else mode
