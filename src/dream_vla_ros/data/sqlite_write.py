"""Write SQLite storage files of rosbag2 (schema 4), one transaction per flush."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from dream_vla_ros.data.storage import StoredTopic

_TABLES = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
  serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL,
  type_description_hash TEXT NOT NULL);
CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
  encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
  data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
INSERT INTO schema(schema_version, ros_distro) VALUES (4, 'unknown');
"""
_METADATA_VERSION = 9


class SqliteWriter:
    """One SQLite storage file. Not thread-safe, but may be handed from thread to thread.

    :param path: File to create; must not exist.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise FileExistsError(f"{path} exists already")
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # With a write-ahead log each commit is one append; FULL waits for the disk at each.
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
        self._types: set[str] = set()

    def add_topic(self, key: int, topic: StoredTopic) -> None:
        """Register a topic under a number."""
        self._connection.execute("BEGIN")
        if topic.type not in self._types:
            self._types.add(topic.type)
            self._connection.execute(
                "INSERT INTO message_definitions(topic_type, encoding, encoded_message_definition,"
                " type_description_hash) VALUES (?, ?, ?, ?)",
                (topic.type, topic.definition_format, topic.definition, topic.type_hash),
            )
        self._connection.execute(
            "INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?)",
            (key, topic.name, topic.type, topic.serialization, topic.qos, topic.type_hash),
        )
        self._connection.execute("COMMIT")

    def write(self, messages: list[tuple[int, int, bytes]]) -> None:
        """Write messages as one transaction.

        :param messages: Topic number, time of arrival [ns] and bytes of each.
        """
        if not messages:
            return
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", messages
        )
        self._connection.execute("COMMIT")

    def write_metadata(self, name: str, values: Mapping[str, str]) -> None:
        """Keep a copy of metadata.yaml."""
        self._connection.execute(
            "INSERT INTO metadata(metadata_version, metadata) VALUES (?, ?)",
            (_METADATA_VERSION, values["serialized_metadata"]),
        )

    def sync(self) -> None:
        """Do nothing: each commit has waited for the disk."""

    def close(self) -> None:
        """Fold the log into the file, so that one file is left, and close it."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.execute("PRAGMA journal_mode=DELETE")
        self._connection.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self._connection.close()
