"""Tests for MCAP files as other recorders write them: without chunks, LZ4, Zstandard, damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType, Writer

from dream_vla_ros.data.errors import BagError
from dream_vla_ros.data.mcap_format import MAGIC, Cursor, Op, record
from dream_vla_ros.data.mcap_read import McapFile

COUNT = 300


def payload(number: int) -> bytes:
    return number.to_bytes(4, "little") + np.random.default_rng(number).bytes(100 + 7 * (number % 50))


def write(path: Path, **options) -> Path:
    """Write a file with the reference implementation."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=4000, **options)
        writer.start("ros2", "reference")
        schema = writer.register_schema("std_msgs/msg/ByteMultiArray", "ros2msg", b"byte[] data\n")
        channels = [
            writer.register_channel(topic, "cdr", schema, {"offered_qos_profiles": "[]"})
            for topic in ("/a", "/b")
        ]
        for number in range(COUNT):
            writer.add_message(channels[number % 2], 1000 + number, payload(number), 1000 + number)
        writer.finish()
    return path


def read(path: Path) -> tuple[McapFile, dict[int, bytes]]:
    file = McapFile(path)
    scanned = list(file.scan())
    found = {int.from_bytes(one.head[:4], "little"): file.read(one.locator) for one in scanned}
    for one in scanned:
        assert file.read(one.locator)[: len(one.head)] == one.head
    return file, found


KINDS = {
    "plain": {"compression": CompressionType.NONE},
    "lz4": {"compression": CompressionType.LZ4},
    "zstd": {"compression": CompressionType.ZSTD},
    "without chunks": {"use_chunking": False},
    "without index": {
        "compression": CompressionType.ZSTD,
        "index_types": IndexType.NONE,
        "use_statistics": False,
        "repeat_channels": False,
        "repeat_schemas": False,
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_whole(tmp_path, kind):
    file, found = read(write(tmp_path / "a.mcap", **KINDS[kind]))
    assert found == {number: payload(number) for number in range(COUNT)}
    assert file.finished
    assert not file.damage
    assert {topic.name for topic in file.topics.values()} == {"/a", "/b"}
    assert file.topics[1].definition == "byte[] data\n"
    if kind != "without index":
        assert file.expected == {"/a": COUNT // 2, "/b": COUNT // 2}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(start=st.floats(0.0, 1.0), length=st.integers(1, 6000), fill=st.sampled_from([0, 5, 6, 255]))
def test_overwritten_stretches_cost_only_what_they_hit(tmp_path_factory, kind, start, length, fill):
    folder = tmp_path_factory.mktemp("mcap")
    data = bytearray(write(folder / "a.mcap", **KINDS[kind]).read_bytes())
    at = int(start * (len(data) - 1))
    hit = len(data[at : at + length])
    data[at : at + length] = bytes([fill]) * hit
    (folder / "b.mcap").write_bytes(data)
    file, found = read(folder / "b.mcap")
    whole = {number: payload(number) for number in range(COUNT)}
    if kind != "without chunks":  # whose messages no checksum protects
        assert found.items() <= whole.items()
        # What is overwritten is lost, and at most the chunk on either side of it.
        assert len(found) >= COUNT - (length / 250 + 60)
    if len(found) < COUNT:
        assert file.damage


def test_a_wrong_record_length_is_seen_through(tmp_path):
    data = bytearray(write(tmp_path / "a.mcap", compression=CompressionType.NONE).read_bytes())
    # A chunk's kind and length are followed by the time of its first message.
    chunks = [
        at
        for at in range(len(data) - 30)
        if data[at] == Op.CHUNK and 1000 <= int.from_bytes(data[at + 9 : at + 17], "little") < 1000 + COUNT
    ]
    assert len(chunks) > 5
    data[chunks[3] + 2] ^= 0x40
    (tmp_path / "b.mcap").write_bytes(data)
    file, found = read(tmp_path / "b.mcap")
    assert len(found) == COUNT
    assert any("so it is kept" in str(one) for one in file.damage.entries)


def test_a_lost_description_is_taken_from_the_summary(tmp_path):
    data = write(tmp_path / "a.mcap", compression=CompressionType.NONE).read_bytes()
    first = data.index(b"std_msgs/msg/ByteMultiArray")
    (tmp_path / "b.mcap").write_bytes(data[:first] + b"X" * 27 + data[first + 27 :])
    file, found = read(tmp_path / "b.mcap")
    assert file.topics[1].type == "std_msgs/msg/ByteMultiArray"
    assert len(found) < COUNT  # the chunk it stood in
    assert file.damage.messages_lost == COUNT - len(found)


def test_messages_whose_topic_is_unknown_are_counted(tmp_path):
    head = struct.pack("<HIQQ", 9, 0, 5, 5)
    body = record(Op.HEADER, struct.pack("<I", 4), b"ros2", struct.pack("<I", 0))
    body += record(Op.MESSAGE, head, b"data") * 3
    (tmp_path / "a.mcap").write_bytes(MAGIC + body)
    file = McapFile(tmp_path / "a.mcap")
    assert len(list(file.scan())) == 3
    assert file.damage.messages_lost == 3
    assert not file.finished


def test_a_file_that_was_never_closed_says_so(tmp_path):
    data = write(tmp_path / "a.mcap", use_chunking=False).read_bytes()
    end = data.index(payload(COUNT - 1)) + len(payload(COUNT - 1))
    (tmp_path / "b.mcap").write_bytes(data[:end])
    file, found = read(tmp_path / "b.mcap")
    assert len(found) == COUNT
    assert not file.finished
    assert "not closed" in str(file.damage.entries[0])


@given(st.binary(max_size=60))
def test_fields_never_run_over_their_record(data):
    for read_field in (Cursor.string, Cursor.string_map, lambda cursor: cursor.take(61)):
        cursor = Cursor(data)
        try:
            read_field(cursor)
        except BagError:
            continue
        assert cursor.at <= len(data)


def test_what_is_no_mcap_is_refused(tmp_path):
    (tmp_path / "a.mcap").write_bytes(b"")
    with pytest.raises(BagError, match="empty"):
        McapFile(tmp_path / "a.mcap")
    (tmp_path / "a.mcap").write_bytes(b"PK\3\4" + bytes(1000))
    with pytest.raises(BagError, match="not an MCAP file"):
        McapFile(tmp_path / "a.mcap")
