"""From the serialised bytes of a bag's messages to objects, by the definitions that the bag carries."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError

from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.storage import HEAD_BYTES, StoredTopic

_HEADER_TYPE = "std_msgs/msg/Header"
_IDL_SEPARATOR = "=" * 80 + "\n"
_NS_PER_S = 1_000_000_000
# Recorders that serialise in Python (rclpy.serialization) leave this many bytes, beside padding, at the end.
_UNUSED_BYTES = 4


class UndecodableError(DataError):
    """A message whose bytes do not fit its type."""


class Decoder:
    """Decodes the messages of one bag.

    :param topics: With the definitions the bag carries; types without one are those of ROS 2 Jazzy.
    """

    def __init__(self, topics: Iterable[StoredTopic]) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)
        own = get_typestore(Stores.EMPTY)
        self.problems: list[str] = []
        done: set[str] = set()
        for topic in topics:
            if topic.type in done or not topic.definition:
                continue
            done.add(topic.type)
            try:
                types = _types(topic)
                self._store.register({name: one for name, one in types.items() if name not in own.fielddefs})
                own.register(types)
            except (TypesysError, AssertionError, ValueError, TypeError, KeyError) as error:
                if topic.type not in self._store.fielddefs:
                    self.problems.append(f"definition of {topic.type} on {topic.name} is unreadable: {error}")

    def knows(self, type_name: str) -> bool:
        """Whether messages of this type can be decoded."""
        return type_name in self._store.fielddefs

    def is_stamped(self, type_name: str) -> bool:
        """Whether messages of this type begin with a std_msgs/Header."""
        if not self.knows(type_name):
            return False
        fields = self._store.fielddefs[type_name][1]
        return bool(fields) and fields[0][1][1] == _HEADER_TYPE

    def decode(self, data: bytes, type_name: str) -> Any:
        """Decode one message.

        :raises UndecodableError: If the bytes are not a message of that type.
        """
        if not self.knows(type_name):
            raise UndecodableError(f"nothing defines the type {type_name}")
        try:
            try:
                return self._store.deserialize_cdr(data, type_name)
            except SerdeError:
                if len(data) <= _UNUSED_BYTES + HEAD_BYTES:
                    raise
                return self._store.deserialize_cdr(data[:-_UNUSED_BYTES], type_name)
        # Damaged bytes make generated code fail in ways no one lists: lengths, indices, text, memory.
        except Exception as error:
            raise UndecodableError(f"bytes are no {type_name}: {error!r}") from error


def header_stamp(head: bytes) -> int:
    """Read the stamp of a message that begins with a header.

    :param head: First bytes of the serialised message, at least 12.
    :returns: Time in ns; -1 where the bytes are too few or not a time.
    """
    if len(head) < HEAD_BYTES:
        return -1
    sec, nanosec = struct.unpack_from("<iI" if head[1] & 1 else ">iI", head, 4)
    return sec * _NS_PER_S + nanosec if sec >= 0 and nanosec < _NS_PER_S else -1


def stamp_ns(message: Any) -> int:
    """Return the stamp of a decoded message with a header, in ns."""
    stamp = message.header.stamp
    return int(stamp.sec) * _NS_PER_S + int(stamp.nanosec)


def _types(topic: StoredTopic) -> dict[str, Any]:
    if topic.definition_format == "ros2idl":
        types: dict[str, Any] = {}
        parts = topic.definition.split(_IDL_SEPARATOR)
        for part in parts[1:] or parts:
            types.update(get_types_from_idl(part.split("\n", 1)[1] if part.startswith("IDL: ") else part))
        return types
    return dict(get_types_from_msg(topic.definition, topic.type))
