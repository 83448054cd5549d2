"""What a recording keeps about its episode, in the custom data of metadata.yaml."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from dream_vla_ros.data.errors import DataError

_PREFIX = "dream_vla."


class RecordingState(str, Enum):
    """How far a recording came."""

    RECORDING = "recording"
    """Still open, or cut off before it could be closed."""
    FINISHED = "finished"
    RECOVERED = "recovered"
    """Cut off, and made readable again by ``recover``."""


@dataclass(frozen=True)
class Takeover:
    """An interval in which a human drove instead of the policy.

    :param start_ns: ROS time it began.
    :param end_ns: ROS time it ended; None while it lasts, or when the recording was cut off in it.
    """

    start_ns: int
    end_ns: int | None = None


@dataclass(frozen=True)
class EpisodeMetadata:
    """One episode.

    :param task: The language instruction.
    :param success: Whether the task was done; None where nobody said.
    :param embodiment: Content of the robot's parameter file at the time.
    :param operator: Who acted: a person, the policy, the expert.
    :param dropped: Messages that could not be written or were lost on the way, by topic.
    """

    task: str = ""
    success: bool | None = None
    notes: str = ""
    robot: str = ""
    embodiment: str = ""
    takeovers: tuple[Takeover, ...] = ()
    state: RecordingState = RecordingState.RECORDING
    dropped: tuple[tuple[str, int], ...] = ()
    operator: str = ""

    @property
    def embodiment_sha256(self) -> str:
        """Hash of the embodiment file, as hexadecimal digits; empty where there is none."""
        return hashlib.sha256(self.embodiment.encode()).hexdigest() if self.embodiment else ""

    def to_custom_data(self) -> dict[str, str]:
        """Return the strings to store."""
        values = {
            "task": self.task,
            "success": {None: "unknown", True: "true", False: "false"}[self.success],
            "notes": self.notes,
            "robot": self.robot,
            "operator": self.operator,
            "state": self.state.value,
            "takeovers": json.dumps([[one.start_ns, one.end_ns] for one in self.takeovers]),
            "dropped": json.dumps(dict(self.dropped)),
            "embodiment_sha256": self.embodiment_sha256,
            "embodiment": self.embodiment,
        }
        return {_PREFIX + key: value for key, value in values.items()}

    @classmethod
    def from_custom_data(cls, custom: Mapping[str, str]) -> EpisodeMetadata | None:
        """Read stored strings.

        :returns: None for a bag that some other recorder wrote.
        :raises DataError: Naming the entry that is malformed.
        """
        values = {
            key.removeprefix(_PREFIX): value for key, value in custom.items() if key.startswith(_PREFIX)
        }
        if "state" not in values:
            return None
        key = ""
        try:
            key = "state"
            state = RecordingState(values["state"])
            key = "success"
            success = {"unknown": None, "true": True, "false": False}[values.get("success", "unknown")]
            key = "takeovers"
            intervals = json.loads(values.get("takeovers", "[]"))
            takeovers = tuple(Takeover(int(a), None if b is None else int(b)) for a, b in intervals)
            key = "dropped"
            dropped = tuple((str(a), int(b)) for a, b in json.loads(values.get("dropped", "{}")).items())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"custom data '{_PREFIX}{key}' is malformed: {values.get(key)!r}") from error
        return cls(
            task=values.get("task", ""),
            success=success,
            notes=values.get("notes", ""),
            robot=values.get("robot", ""),
            embodiment=values.get("embodiment", ""),
            takeovers=takeovers,
            state=state,
            dropped=dropped,
            operator=values.get("operator", ""),
        )
