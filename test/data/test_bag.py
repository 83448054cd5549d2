"""Tests for reading bags, whole and damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.bag_metadata import BagMetadata
from dream_vla_ros.data.errors import BagError
from dream_vla_ros.data.recover import recover

KINDS = ["mcap", "sqlite", "own"]
mutations = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="session")
def healthy(healthy_mcap, healthy_sqlite, healthy_own):
    return {"mcap": healthy_mcap, "sqlite": healthy_sqlite, "own": healthy_own}


def storage_file(bag: Path) -> Path:
    return next(file for file in bag.iterdir() if file.suffix in (".mcap", ".db3"))


def contents(bag: Bag) -> list[tuple[str, int, bytes]]:
    return sorted((name, int(bag.topics[name].log_ns[number]), data) for name, number, data in bag.read_all())


def originals(recorded) -> list[tuple[str, int, bytes]]:
    return sorted((one.topic, one.log_ns, one.data) for one in recorded)


def damaged(source: Path, target: Path, data: bytes) -> Path:
    """Copy a bag with other bytes in its storage file."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    storage_file(target).write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("storage", "compression"),
    [(storage, mode) for storage in StoragePlugin for mode in CompressionMode if mode.name != "STORAGE"]
    + [(StoragePlugin.MCAP, CompressionMode.STORAGE)],
)
def test_every_storage_and_compression_gives_the_same_messages(
    tmp_path, recorded, rosbags_writer, storage, compression
):
    path = rosbags_writer(tmp_path / "bag", recorded, storage=storage, compression=compression)
    with Bag(path) as bag:
        assert contents(bag) == originals(recorded)
        assert not bag.damage
        index = bag.index("/ee_pose")
        assert np.all(index.log_ns - index.stamp_ns == 2_000_000)
        assert np.all(bag.index("/gripper_command").stamp_ns == -1)
        _, pose = next(bag.messages("/ee_pose", [3]))
        assert pose.header.frame_id == "base_link"


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_may_be_missing_or_broken(tmp_path, recorded, healthy, kind):
    bag_path = tmp_path / "bag"
    shutil.copytree(healthy[kind], bag_path)
    (bag_path / "metadata.yaml").write_text("rosbag2_bagfile_information: [broken")
    with Bag(bag_path) as bag:
        assert contents(bag) == originals(recorded)
        assert "not YAML" in str(bag.damage.entries[0])
    (bag_path / "metadata.yaml").unlink()
    with Bag(bag_path) as bag:
        assert contents(bag) == originals(recorded)
        assert "missing" in str(bag.damage.entries[0])
        # Both storages hold a copy of it.
        assert bag.metadata is not None
        assert bag.metadata.message_count == len(recorded)
    with Bag(storage_file(bag_path)) as bag:
        assert contents(bag) == originals(recorded)


@pytest.mark.parametrize("compressed", [False, True])
def test_split_bags_are_one(tmp_path, recorded, rosbags_writer, compressed):
    mode = CompressionMode.FILE if compressed else CompressionMode.NONE
    whole = tmp_path / "whole"
    whole.mkdir()
    parts = 11  # so that names sorted as text would be out of order
    share = len(recorded) // parts + 1
    suffix = ".mcap.zstd" if compressed else ".mcap"
    for part in range(parts):
        piece = recorded[part * share : (part + 1) * share]
        path = rosbags_writer(tmp_path / f"part{part}", piece, compression=mode)
        next(path.glob("*.mcap*")).rename(whole / f"whole_{part}{suffix}")
    with Bag(whole) as bag:
        assert contents(bag) == originals(recorded)
        numbers = [number for name, number, _ in bag.read_all() if name == "/ee_pose"]
        assert numbers == sorted(numbers)


def test_a_missing_file_of_a_split_bag_is_reported(tmp_path, healthy_mcap):
    shutil.copytree(healthy_mcap, tmp_path / "bag")
    metadata = BagMetadata.read(tmp_path / "bag")
    names = (*metadata.files, "bag_1.mcap")
    BagMetadata(metadata.storage, names, metadata.topics, custom={}).write(tmp_path / "bag")
    with Bag(tmp_path / "bag") as bag:
        assert any(
            "bag_1.mcap: listed in metadata.yaml but missing" in str(one) for one in bag.damage.entries
        )


def test_reordered_messages_come_back_in_the_order_of_arrival(tmp_path, recorded, rosbags_writer):
    shuffled = list(recorded)
    np.random.default_rng(3).shuffle(shuffled)
    with Bag(rosbags_writer(tmp_path / "bag", shuffled)) as bag:
        assert contents(bag) == originals(recorded)
        for index in bag.topics.values():
            assert np.all(np.diff(index.log_ns) >= 0)


def test_an_unknown_topic_is_answered_with_the_topics_there_are(healthy_mcap):
    with (
        Bag(healthy_mcap) as bag,
        pytest.raises(BagError, match=r"/ee_pose \(geometry_msgs/msg/PoseStamped, 200"),
    ):
        bag.index("/nowhere")


@pytest.mark.parametrize("name", ["bag.mcap", "bag.db3"])
@pytest.mark.parametrize("content", [b"", b"hello" * 1000])
def test_files_that_are_no_bags_are_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BagError, match=name):
        Bag(tmp_path)


def test_a_folder_without_storage_files_is_refused(tmp_path):
    with pytest.raises(BagError, match="no .mcap or .db3"):
        Bag(tmp_path)
    with pytest.raises(BagError, match="no such bag"):
        Bag(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["mcap", "sqlite"])
def test_a_bag_without_messages_is_read_but_not_recovered(tmp_path, rosbags_writer, kind, recorded):
    storage = StoragePlugin.MCAP if kind == "mcap" else StoragePlugin.SQLITE3
    with Bag(rosbags_writer(tmp_path / "empty", [], storage=storage)) as bag:
        assert not bag.topics
    with pytest.raises(BagError, match="no message is left"):
        recover(tmp_path / "empty", tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
@mutations
@given(share=st.floats(0.0, 0.9999))
def test_a_cut_off_file_gives_what_came_before_the_cut(tmp_path, recorded, healthy, kind, share):
    data = storage_file(healthy[kind]).read_bytes()
    path = damaged(healthy[kind], tmp_path / "bag", data[: int(len(data) * share)])
    try:
        bag = Bag(path)
    except BagError:
        if share >= 0.2:  # nothing may be left only where nearly everything was cut
            raise
        return
    with bag:
        found = contents(bag)
        assert set(found) <= set(originals(recorded))
        assert len(found) == len(set(found))
        assert len(found) == len(recorded) or bag.damage
        if len(found) < len(recorded):
            assert not bag.finished
            assert sum(bag.missing.values()) == len(recorded) - len(found)
        if kind != "sqlite" and share > 0.5:
            assert len(found) > 0.7 * share * len(recorded)


@pytest.mark.parametrize("kind", KINDS)
@mutations
@given(places=st.lists(st.floats(0.0, 0.999999), min_size=1, max_size=4), bit=st.integers(0, 7))
def test_flipped_bits_cost_only_what_is_reported(tmp_path, recorded, healthy, kind, places, bit):
    data = bytearray(storage_file(healthy[kind]).read_bytes())
    for place in places:
        data[int(place * len(data))] ^= 1 << bit
    path = damaged(healthy[kind], tmp_path / "bag", bytes(data))
    try:
        bag = Bag(path)
    except BagError:
        return  # which says that nothing can be read
    with bag:
        found = contents(bag)
        missing = set(originals(recorded)) - set(found)
        if not missing:
            return
        if kind == "own" and set(found) - set(originals(recorded)):
            pytest.fail("a changed message has passed the checksum")
        # SQLite, and MCAP without checksums, let a changed message pass; none may vanish unnoticed.
        assert len(found) >= len(recorded) or (bag.damage and not bag.finished)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_damage_in_the_middle_spares_both_sides(tmp_path, recorded, healthy, kind, seed):
    data = bytearray(storage_file(healthy[kind]).read_bytes())
    random = np.random.default_rng(seed)
    middle = len(data) // 2
    data[middle : middle + 3000] = random.bytes(3000)
    path = damaged(healthy[kind], tmp_path / "bag", bytes(data))
    with Bag(path) as bag:
        found = contents(bag)
        assert bag.damage
        times = [log_ns for _, log_ns, _ in found]
        assert min(times) == recorded[0].log_ns
        if kind != "mcap":  # there, all of this recording is one chunk
            assert max(times) == recorded[-1].log_ns
            assert len(set(found) & set(originals(recorded))) > 0.9 * len(recorded)
    done = recover(path, tmp_path / "recovered")
    with Bag(tmp_path / "recovered") as bag:
        assert contents(bag) == found
        assert not bag.damage
    assert done.damage
    assert sum(done.kept.values()) == len(found)


def test_recovering_a_whole_bag_changes_nothing(tmp_path, recorded, healthy_sqlite):
    recover(healthy_sqlite, tmp_path / "copy")
    with Bag(tmp_path / "copy") as bag:
        assert contents(bag) == originals(recorded)
        assert bag.metadata is not None
        assert bag.metadata.storage == "sqlite3"
