"""Tests for recording."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.bag_metadata import BagMetadata, TopicCount
from dream_vla_ros.data.bag_writer import BagStorage, BagWriter, WriterLimits
from dream_vla_ros.data.episode_metadata import EpisodeMetadata, RecordingState, Takeover
from dream_vla_ros.data.errors import BagWriteError
from dream_vla_ros.data.recover import recover
from dream_vla_ros.data.storage import StoredTopic

KILLS = int(os.environ.get("DREAM_VLA_KILLS", "4"))
WRITER = Path(__file__).with_name("crash_writer.py")
# What a kill may cost; more where the processor is busy with something else, which it is not every time.
MOST_LOST_S = 0.5
ATTEMPTS = 5
BYTES = StoredTopic("/bytes", "std_msgs/msg/ByteMultiArray", definition="byte[] data\n")


def record(path, recorded, storage, metadata=None):
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    with BagWriter(path, metadata or EpisodeMetadata(task="t"), storage=storage) as writer:
        for one in recorded:
            text = store.generate_msgdef(one.type, ros_version=2)[0]
            writer.add_topic(
                StoredTopic(one.topic, one.type, definition=text, type_hash=store.hash_rihs01(one.type))
            )
            assert writer.write(one.topic, one.data, one.log_ns)
        writer.close(success=True, notes="went well")
    return path


@pytest.mark.parametrize("storage", list(BagStorage))
def test_others_read_what_was_written(tmp_path, recorded, storage):
    path = record(tmp_path / "episode", recorded, storage)
    with AnyReader([path]) as reader:
        got = [(c.topic, c.msgtype, ns, bytes(data)) for c, ns, data in reader.messages()]
        connection = next(c for c in reader.connections if c.topic == "/ee_pose")
        raw = next(data for c, _, data in reader.messages(connections=[connection]))
        pose = reader.deserialize(raw, connection.msgtype)
    want = [(one.topic, one.type, one.log_ns, one.data) for one in recorded]
    assert sorted(got) == sorted(want)
    assert pose.pose.position.x == pytest.approx(0.2)


def test_mcap_itself_finds_index_checksums_and_statistics(tmp_path, recorded):
    path = record(tmp_path / "episode", recorded, BagStorage.MCAP)
    with (path / "episode_0.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        count = sum(1 for _ in reader.iter_messages(topics=["/joint_states"]))
        metadata = {name.name: name.metadata for name in reader.iter_metadata()}
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count == len(recorded)
    assert count == sum(one.topic == "/joint_states" for one in recorded)
    inner = yaml.safe_load(metadata["rosbag2"]["serialized_metadata"])
    assert inner["message_count"] == len(recorded)


@pytest.mark.parametrize("storage", list(BagStorage))
def test_metadata_tells_the_episode(tmp_path, recorded, storage):
    text = "/**:\n  ros__parameters:\n    robot: tabletop # \u00b5\n"
    metadata = EpisodeMetadata(task="stack", robot="tabletop", embodiment=text, takeovers=(Takeover(5, 9),))
    path = record(tmp_path / "episode", recorded, storage, metadata)
    read = EpisodeMetadata.from_custom_data(BagMetadata.read(path).custom)
    assert read is not None
    assert read.embodiment == text
    assert len(read.embodiment_sha256) == 64
    assert (read.task, read.success, read.notes) == ("stack", True, "went well")
    assert (read.state, read.takeovers) == (RecordingState.FINISHED, (Takeover(5, 9),))
    with Bag(path) as bag:
        assert bag.finished
        assert not bag.damage


def test_metadata_is_there_before_the_first_message(tmp_path):
    writer = BagWriter(tmp_path / "episode", EpisodeMetadata(task="early"))
    try:
        writer.update(EpisodeMetadata(task="early", takeovers=(Takeover(3),)))
        read = EpisodeMetadata.from_custom_data(BagMetadata.read(tmp_path / "episode").custom)
    finally:
        writer.discard()
    assert read is not None
    assert (read.task, read.state, read.takeovers) == ("early", RecordingState.RECORDING, (Takeover(3),))
    assert not (tmp_path / "episode").exists()


@pytest.mark.parametrize("storage", list(BagStorage))
@pytest.mark.parametrize("seed", range(KILLS))
def test_a_kill_loses_at_most_half_a_second(tmp_path, storage, seed):
    for attempt in range(ATTEMPTS):
        if kill(tmp_path / str(attempt), storage, seed) < MOST_LOST_S:
            return
    pytest.fail(f"{ATTEMPTS} kills lost more than {MOST_LOST_S} s each")


def kill(folder: Path, storage: BagStorage, seed: int) -> float:
    """Kill a recorder, check what it leaves, and return how old the oldest message is that was lost [s]."""
    folder.mkdir()
    path = folder / "episode"
    process = subprocess.Popen(
        [sys.executable, str(WRITER), str(path), storage.value, str(seed)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    random = np.random.default_rng(seed)
    taken: list[tuple[int, int]] = []

    def listen() -> None:
        for line in process.stdout or ():
            if line.endswith("\n") and line.count(" ") == 1:  # the last one may be torn
                number, taken_ns = line.split()
                taken.append((int(number), int(taken_ns)))

    reader = threading.Thread(target=listen, daemon=True)
    assert process.stdout.readline()  # it is running
    reader.start()
    time.sleep(float(random.uniform(0.0, 0.8)))  # the moment of death is what is drawn
    process.send_signal(signal.SIGKILL)
    killed_ns = time.time_ns()
    process.wait()
    reader.join(timeout=10)
    with Bag(path) as bag:
        found = {int.from_bytes(data[4:12], "little"): data for _, _, data in bag.read_all()}
        assert bag.metadata is not None
        assert not bag.finished
    # Only the end may be missing, and only what was taken within the last moments.
    lost = [number for number, _ in taken if number not in found]
    assert lost == [number for number, _ in taken][len(taken) - len(lost) :]
    if found:
        done = recover(path, folder / "recovered")
        assert sum(done.kept.values()) == len(found)
        with AnyReader([folder / "recovered"]) as whole:
            assert sum(1 for _ in whole.messages()) == len(found)
        again = EpisodeMetadata.from_custom_data(BagMetadata.read(folder / "recovered").custom)
        assert again is not None
        assert (again.task, again.state) == ("survive", RecordingState.RECOVERED)
    return max(((killed_ns - taken_ns) * 1e-9 for number, taken_ns in taken if number in lost), default=0.0)


def test_a_kill_while_sqlite_folds_its_log_into_the_file_costs_nothing(tmp_path):
    from dream_vla_ros.data.sqlite_write import SqliteWriter

    file = tmp_path / "bag_0.db3"
    writer = SqliteWriter(file)
    writer.add_topic(1, BYTES)
    messages = [(1, 10 + number, number.to_bytes(8, "little") + bytes(5000)) for number in range(100)]
    for start in range(0, 100, 10):
        writer.write(messages[start : start + 10])
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in (file.name, f"{file.name}-wal"):
        shutil.copy(tmp_path / name, killed / name)
    # The first page goes to the file first, and counts pages that are not there yet.
    other = sqlite3.connect(file)
    other.execute("PRAGMA wal_checkpoint(PASSIVE)")
    first_page = file.read_bytes()[:4096]
    other.close()
    writer.close()
    with (killed / file.name).open("r+b") as half:
        half.write(first_page)
    with Bag(killed / file.name) as bag:
        assert [data for _, _, data in bag.read_all()] == [data for _, _, data in messages]


def test_a_slow_disk_costs_counted_messages_and_nothing_else(tmp_path, monkeypatch):
    hold = threading.Event()
    from dream_vla_ros.data.mcap_write import McapWriter

    monkeypatch.setattr(McapWriter, "sync", lambda self: hold.wait(timeout=20))
    limits = WriterLimits(flush_period_s=0.01, flush_bytes=1000, backlog_bytes=10_000)
    writer = BagWriter(tmp_path / "episode", EpisodeMetadata(), limits=limits)
    writer.add_topic(BYTES)
    kept = [writer.write("/bytes", bytes(1000), 1 + number) for number in range(50)]
    assert not all(kept)
    assert writer.status().dropped == {"/bytes": 50 - sum(kept)}
    hold.set()
    status = writer.close()
    assert status.written == {"/bytes": sum(kept)}
    read = EpisodeMetadata.from_custom_data(BagMetadata.read(tmp_path / "episode").custom)
    assert read is not None
    assert dict(read.dropped) == {"/bytes": 50 - sum(kept)}


def test_a_disk_that_fails_ends_the_recording_with_its_cause(tmp_path, monkeypatch):
    from dream_vla_ros.data.mcap_write import McapWriter

    writer = BagWriter(tmp_path / "episode", EpisodeMetadata(), limits=WriterLimits(flush_period_s=0.01))
    writer.add_topic(BYTES)

    def fail(self: object, messages: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(McapWriter, "write", fail)
    writer.write("/bytes", b"123456", 1)
    deadline = time.monotonic() + 10
    while not writer.status().failure and time.monotonic() < deadline:
        time.sleep(0.005)
    assert "No space left" in writer.status().failure
    assert not writer.write("/bytes", b"123456", 2)
    assert writer.status().dropped == {"/bytes": 2}
    with pytest.raises(BagWriteError, match="No space left"):
        writer.close(success=True)


def test_a_database_that_cannot_be_finished_says_so(tmp_path, monkeypatch):
    from dream_vla_ros.data.sqlite_write import SqliteWriter

    def fail(self: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    writer = BagWriter(tmp_path / "episode", EpisodeMetadata(), storage=BagStorage.SQLITE)
    monkeypatch.setattr(SqliteWriter, "close", fail)
    with pytest.raises(BagWriteError, match="database or disk is full"):
        writer.close(success=True)
    read = EpisodeMetadata.from_custom_data(BagMetadata.read(tmp_path / "episode").custom)
    assert read is not None
    assert read.state is RecordingState.RECORDING


def test_topics_may_come_while_others_are_written(tmp_path, monkeypatch):
    from dream_vla_ros.data import bag_writer

    late = [replace(BYTES, name=f"/late_{number}") for number in range(3)]

    def count_and_announce(*arguments: object) -> object:
        if late:
            writer.add_topic(late.pop())
        return TopicCount(*arguments)

    writer = BagWriter(tmp_path / "episode", EpisodeMetadata(), limits=WriterLimits(flush_period_s=0.01))
    monkeypatch.setattr(bag_writer, "TopicCount", count_and_announce)
    writer.add_topic(BYTES)
    writer.write("/bytes", b"123456", 1)
    status = writer.close()
    assert status.written == {"/bytes": 1, "/late_0": 0, "/late_1": 0, "/late_2": 0}


def test_recording_is_refused_where_there_is_no_room(tmp_path):
    limits = WriterLimits(min_free_bytes=1 << 60)
    with pytest.raises(BagWriteError, match="must stay free"):
        BagWriter(tmp_path / "episode", EpisodeMetadata(), limits=limits)


def test_an_existing_bag_is_never_written_over(tmp_path):
    (tmp_path / "episode").mkdir()
    with pytest.raises(BagWriteError, match="episode"):
        BagWriter(tmp_path / "episode", EpisodeMetadata())


def test_a_topic_has_one_type(tmp_path):
    with BagWriter(tmp_path / "episode", EpisodeMetadata()) as writer:
        writer.add_topic(BYTES)
        writer.add_topic(BYTES)
        with pytest.raises(BagWriteError, match="already recorded as std_msgs/msg/ByteMultiArray"):
            writer.add_topic(StoredTopic("/bytes", "std_msgs/msg/String"))
        with pytest.raises(KeyError):
            writer.write("/unknown", b"", 0)


def test_an_exception_while_recording_marks_the_episode_failed(tmp_path):
    def interrupted() -> None:
        with BagWriter(tmp_path / "episode", EpisodeMetadata(task="t")) as writer:
            writer.add_topic(BYTES)
            writer.write("/bytes", b"1234", 7)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    read = EpisodeMetadata.from_custom_data(BagMetadata.read(tmp_path / "episode").custom)
    assert read is not None
    assert (read.success, read.state) == (False, RecordingState.FINISHED)
