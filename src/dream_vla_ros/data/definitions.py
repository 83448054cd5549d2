"""Message definitions of installed packages, for bags that others can read without them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError
from rosbags.typesys.store import Typestore

from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.storage import StoredTopic


class Definitions:
    """Finds definitions: of installed packages first, and else those of ROS 2 Jazzy.

    :param prefixes: Where packages are installed; ``AMENT_PREFIX_PATH`` by default.
    """

    def __init__(self, prefixes: Sequence[Path] | None = None) -> None:
        listed = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        self._prefixes = [Path(one) for one in listed if one] if prefixes is None else list(prefixes)
        self._known = get_typestore(Stores.ROS2_JAZZY)
        self._store: Typestore = get_typestore(Stores.EMPTY)

    def topic(self, name: str, type_name: str, qos: str = "") -> StoredTopic:
        """Describe a topic for a bag.

        :param type_name: For example ``sensor_msgs/msg/Image``.
        :param qos: The publishers' profiles as rosbag2 writes them, in YAML.
        :raises DataError: If the type is not installed, or its definition is unreadable.
        """
        self._load(type_name)
        try:
            text = self._store.generate_msgdef(type_name, ros_version=2)[0]
            type_hash = self._store.hash_rihs01(type_name)
        except (TypesysError, KeyError) as error:
            raise DataError(f"definition of {type_name} for {name} is incomplete: {error}") from error
        return StoredTopic(name, type_name, definition=text, type_hash=type_hash, qos=qos)

    def exact(self, type_name: str, data: bytes) -> bytes:
        """Return a serialised message without the bytes that its serialiser left unused at the end.

        ``rclpy.serialization`` leaves up to eight, and strict readers refuse such messages.

        :param type_name: Of a topic described before.
        :param data: CDR, little endian.
        """
        kind = self._store.get_msgdef(type_name)
        _, end = kind.deserialize_cdr_le(memoryview(data)[4:], 0, kind.cls, self._store)
        return data[: 4 + end]

    def _load(self, type_name: str) -> None:
        if type_name in self._store.fielddefs:
            return
        found = self._installed(type_name) or self._of_jazzy(type_name)
        self._store.register(found)
        for _, description in found[type_name][1]:
            for needed in _names(description):
                self._load(needed)

    def _installed(self, type_name: str) -> dict[str, Any]:
        package, _, message = type_name.partition("/msg/")
        for prefix in self._prefixes:
            path = prefix / "share" / package / "msg" / f"{message}.msg"
            try:
                text = path.read_text(encoding="utf-8")
            except OSError:
                continue
            try:
                return dict(get_types_from_msg(text, type_name))
            except TypesysError as error:
                raise DataError(f"{path}: cannot be parsed: {error}") from error
        return {}

    def _of_jazzy(self, type_name: str) -> dict[str, Any]:
        if type_name not in self._known.fielddefs:
            where = ", ".join(str(prefix) for prefix in self._prefixes) or "an empty AMENT_PREFIX_PATH"
            raise DataError(
                f"nothing defines {type_name}: its package is not installed below {where}; source its "
                "workspace"
            )
        return {type_name: self._known.fielddefs[type_name]}


def _names(description: Any) -> list[str]:
    """Return the message types a field is made of."""
    kind, detail = description
    if kind == Nodetype.NAME:
        return [str(detail)]
    if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        return _names(detail[0])
    return []
