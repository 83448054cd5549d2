"""What the two storages of rosbag2, MCAP and SQLite, have in common for a reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from dream_vla_ros.data.errors import DamageLog

# The encapsulation header of CDR (4 bytes) and a stamp (8): what tells when a message was captured.
HEAD_BYTES = 12


@dataclass(frozen=True)
class StoredTopic:
    """A topic as one storage file names it.

    :param type: For example ``sensor_msgs/msg/Image``.
    :param definition: Text of the message definition; empty where the file holds none.
    :param definition_format: ``ros2msg`` or ``ros2idl``.
    """

    name: str
    type: str
    serialization: str = "cdr"
    definition: str = ""
    definition_format: str = "ros2msg"
    type_hash: str = ""
    qos: str = ""


class Locator(NamedTuple):
    """Where one message's bytes are: a block (chunk or row) and a range within it."""

    block: int
    offset: int
    size: int


class Scanned(NamedTuple):
    """One message met while scanning a storage file.

    :param topic: Key into the file's ``topics``.
    :param log_ns: When the recorder received it.
    :param head: Its first bytes.
    """

    topic: int
    log_ns: int
    head: bytes
    locator: Locator


class Storage(Protocol):
    """One storage file of a bag. ``topics`` and the rest are complete once ``scan`` is exhausted."""

    path: Path
    damage: DamageLog
    topics: dict[int, StoredTopic]
    expected: dict[str, int]
    """Messages of each topic by the file's own account; empty where it has none."""
    metadata_text: str
    """Copy of metadata.yaml inside the file; empty where there is none."""
    finished: bool
    """Whether the file was closed as it should."""

    def scan(self) -> Iterator[Scanned]:
        """Go through all readable messages, in file order."""
        ...

    def read(self, locator: Locator) -> bytes:
        """Fetch the bytes of one message."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...
