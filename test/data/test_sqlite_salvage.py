"""Tests for reading SQLite files page by page."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.data.sqlite_salvage import Salvage, salvage
from dream_vla_ros.data.sqlite_write import SqliteWriter
from dream_vla_ros.data.storage import StoredTopic

TOPICS = [
    StoredTopic("/a", "std_msgs/msg/String", definition="string data\n", type_hash="RIHS01_x", qos="[]"),
    StoredTopic("/b", "sensor_msgs/msg/Image", definition="uint8[] data\n"),
]


def rows(sizes: list[int]) -> list[tuple[int, int, bytes]]:
    random = np.random.default_rng(len(sizes))
    return [
        (1 + number % 2, 1_700_000_000 * 10**9 + number, random.bytes(size))
        for number, size in enumerate(sizes)
    ]


def in_order(found: Salvage) -> list[tuple[int, int, bytes]]:
    return [(row.topic, row.log_ns, row.data) for row in sorted(found.messages, key=lambda row: row.id)]


# Around the sizes at which a message spills to other pages, and beyond several of them.
sizes = st.lists(
    st.integers(0, 300) | st.integers(3900, 4200) | st.integers(8000, 30_000), min_size=1, max_size=40
)


@settings(max_examples=20, deadline=None)
@given(sizes)
def test_a_whole_file_gives_all_rows_as_sqlite_would(tmp_path_factory, lengths):
    path = tmp_path_factory.mktemp("db") / "bag.db3"
    writer = SqliteWriter(path)
    for key, topic in enumerate(TOPICS, 1):
        writer.add_topic(key, topic)
    written = rows(lengths)
    writer.write(written)
    writer.close()
    found = salvage(path)
    assert [
        (row.topic, row.log_ns, row.data) for row in sorted(found.messages, key=lambda row: row.id)
    ] == written
    assert found.topics == dict(enumerate(TOPICS, 1))


@pytest.mark.parametrize("page_size", [512, 1024, 65536])
def test_other_page_sizes_are_read(tmp_path, page_size):
    path = tmp_path / "bag.db3"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA page_size={page_size}")
    connection.execute(
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INT, timestamp INT, data BLOB)"
    )
    written = rows([10, 600, 5000, 100_000, 3])
    connection.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", written)
    connection.commit()
    connection.close()
    assert in_order(salvage(path)) == written


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=9000), st.booleans())
def test_noise_gives_nothing_and_no_error(tmp_path_factory, noise, headed):
    path = tmp_path_factory.mktemp("db") / "noise.db3"
    path.write_bytes((b"SQLite format 3\0" if headed else b"") + noise)
    salvage(path)
