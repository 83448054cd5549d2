"""Read SQLite storage files of rosbag2, of every schema version, whole or damaged."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from dream_vla_ros.data.errors import BagError, DamageLog
from dream_vla_ros.data.sqlite_salvage import SalvagedRow, salvage
from dream_vla_ros.data.storage import HEAD_BYTES, Locator, Scanned, StoredTopic

_SALVAGED = 1
_REGULAR = 0
_HEADER_BYTES = 100


class SqliteFile:
    """One SQLite storage file; see :class:`~dream_vla_ros.data.storage.Storage`.

    A file that SQLite itself refuses or stumbles over is read page by page instead. SQLite keeps no checksum
    of its content: a flipped bit within a message can only show when the message is decoded.

    :raises BagError: If the file is empty or nothing of it looks like SQLite.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = DamageLog()
        self.topics: dict[int, StoredTopic] = {}
        self.expected: dict[str, int] = {}
        self.metadata_text = ""
        self.finished = True
        self._salvaged: list[SalvagedRow] = []
        self._lock = threading.Lock()
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._pages = path
        if path.stat().st_size == 0:
            raise BagError(f"{path}: the file is empty")
        self._connection = self._connect()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def scan(self) -> Iterator[Scanned]:
        """Go through all readable messages, in file order."""
        seen = 0
        try:
            self._read_topics()
            self._check_length()
            rows = self._connection.execute(
                "SELECT id, topic_id, timestamp, substr(data, 1, ?), length(data) FROM messages ORDER BY id",
                (HEAD_BYTES,),
            )
            for row, topic, log_ns, head, size in rows:
                if not (isinstance(topic, int) and isinstance(log_ns, int) and isinstance(head, bytes)):
                    raise sqlite3.DatabaseError(f"message {row} is malformed")
                seen = row
                yield Scanned(topic, log_ns, head, Locator(row, _REGULAR, size))
        except (sqlite3.Error, TypeError) as error:
            self.finished = False
            yield from self._salvage(seen, str(error))

    def read(self, locator: Locator) -> bytes:
        """Fetch the bytes of one message that ``scan`` has met."""
        if locator.offset == _SALVAGED:
            return self._salvaged[locator.block].data
        query = "SELECT data FROM messages WHERE id = ?"
        try:
            with self._lock:
                row = self._connection.execute(query, (locator.block,)).fetchone()
                if row is None:
                    # A damaged inner page leads the search astray, but not a walk through all rows.
                    row = self._connection.execute(
                        query.replace("id =", "+id ="), (locator.block,)
                    ).fetchone()
        except sqlite3.Error as error:
            raise BagError(f"{self.path}: message {locator.block} is unreadable: {error}") from error
        if row is None:
            raise BagError(f"{self.path}: message {locator.block} is gone")
        return bytes(row[0])

    def _connect(self) -> sqlite3.Connection:
        path = self.path
        if Path(f"{path}-wal").exists() or Path(f"{path}-journal").exists():
            # A recorder was killed: opening writes to the files, so it happens on a copy.
            self._copy = tempfile.TemporaryDirectory(prefix="dream_vla_bag_")
            for suffix in ("", "-wal", "-journal"):
                if Path(f"{path}{suffix}").exists():
                    shutil.copy(f"{path}{suffix}", f"{self._copy.name}/{path.name}{suffix}")
            self._pages = Path(self._copy.name) / path.name
            self.finished = False
            self.damage.add(self.path.name, -1, "the file was not closed: changes lay in its journal")
            connection = sqlite3.connect(self._pages, check_same_thread=False)
            with contextlib.suppress(sqlite3.Error):
                # A kill may have come while the recorder did this, and left a file that counts missing pages.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return connection
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        return sqlite3.connect(address, uri=True, check_same_thread=False)

    def _check_length(self) -> None:
        """Refuse a file that was cut off: SQLite would read zeros where pages are missing."""
        with self._pages.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        size = int.from_bytes(header[16:18], "big")
        wanted = (65536 if size == 1 else size) * int.from_bytes(header[28:32], "big")
        # The count of pages is only valid if the two change counters agree.
        if header[24:28] == header[92:96] and self._pages.stat().st_size < wanted:
            raise sqlite3.DatabaseError(f"the file has {self._pages.stat().st_size} bytes of {wanted}")

    def _read_topics(self) -> None:
        tables = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master")}
        if not {"topics", "messages"} <= tables:
            raise sqlite3.DatabaseError("it has no tables named topics and messages")
        definitions = {}
        if "message_definitions" in tables:
            rows = self._connection.execute(
                "SELECT topic_type, encoded_message_definition, encoding FROM message_definitions"
            )
            definitions = {name: (text, encoding) for name, text, encoding in rows}
        columns = [row[1] for row in self._connection.execute("PRAGMA table_info(topics)")]
        wanted = ["id", "name", "type", "serialization_format"]
        wanted += [name for name in ("offered_qos_profiles", "type_description_hash") if name in columns]
        for row in self._connection.execute(f"SELECT {', '.join(wanted)} FROM topics"):
            named = dict(zip(wanted, row, strict=True))
            text, encoding = definitions.get(named["type"], ("", "ros2msg"))
            self.topics[named["id"]] = StoredTopic(
                named["name"],
                named["type"],
                named["serialization_format"],
                text,
                encoding,
                named.get("type_description_hash", ""),
                named.get("offered_qos_profiles", ""),
            )
        if "metadata" in tables:
            query = "SELECT metadata FROM metadata ORDER BY id DESC LIMIT 1"
            row = self._connection.execute(query).fetchone()
            self.metadata_text = row[0] if row else ""

    def _salvage(self, seen: int, problem: str) -> Iterator[Scanned]:
        """Yield what the pages hold beyond row ``seen``."""
        found = salvage(self._pages)
        for key, topic in found.topics.items():
            self.topics.setdefault(key, topic)
        rows = sorted((row for row in found.messages if row.id > seen), key=lambda row: row.id)
        if not rows and not seen and not self.topics:
            raise BagError(
                f"{self.path}: not a bag that SQLite can read, and nothing in it can be saved: {problem}"
            )
        newest = max([seen] + [row.id for row in rows])
        # Rows are numbered without gaps, so the numbers that are missing are the messages that are lost.
        lost = newest - seen - len({row.id for row in rows})
        self.damage.add(
            self.path.name,
            -1,
            f"SQLite stopped after message {seen} ({problem}); {len(rows)} messages were found page by page, "
            "and any after the last of them are lost",
            messages_lost=lost if lost else -1,
        )
        for row in rows:
            self._salvaged.append(row)
            where = Locator(len(self._salvaged) - 1, _SALVAGED, len(row.data))
            yield Scanned(row.topic, row.log_ns, row.data[:HEAD_BYTES], where)
