"""Tests for what is kept about a bag and its episode."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_vla_ros.data.bag_metadata import BagMetadata, TopicCount, write_atomically
from dream_vla_ros.data.episode_metadata import EpisodeMetadata, RecordingState, Takeover
from dream_vla_ros.data.errors import BagError, DataError

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
takeovers = st.builds(Takeover, st.integers(0, 2**62), st.none() | st.integers(0, 2**62))
episodes = st.builds(
    EpisodeMetadata,
    task=texts,
    success=st.none() | st.booleans(),
    notes=texts,
    operator=texts,
    robot=texts,
    embodiment=texts,
    takeovers=st.lists(takeovers, max_size=3).map(tuple),
    state=st.sampled_from(RecordingState),
    dropped=st.dictionaries(texts, st.integers(0, 10**6), max_size=3).map(lambda d: tuple(d.items())),
)


@settings(deadline=None)
@given(episodes)
def test_an_episode_survives_being_stored_as_yaml(episode):
    bag = BagMetadata("mcap", ("a.mcap",), (), custom=episode.to_custom_data())
    for text in (bag.dump(), bag.dump_inner()):
        assert EpisodeMetadata.from_custom_data(BagMetadata.parse(text).custom) == episode


topics = st.builds(
    TopicCount,
    name=texts.map(lambda text: "/" + text),
    type=texts,
    count=st.integers(0, 10**9),
    type_hash=texts,
)


@settings(deadline=None)
@given(
    st.lists(topics, max_size=4).map(tuple),
    st.integers(0, 2**62),
    st.integers(0, 2**50),
    st.sampled_from(["", "file", "message"]),
)
def test_a_bags_metadata_survives_being_written(listed, start, duration, mode):
    bag = BagMetadata("sqlite3", ("a_0.db3", "a_1.db3"), listed, start, duration, mode and "zstd", mode)
    assert BagMetadata.parse(bag.dump()) == bag
    assert bag.message_count == sum(topic.count for topic in listed)


def test_bags_of_others_have_no_episode():
    assert EpisodeMetadata.from_custom_data({}) is None
    assert EpisodeMetadata.from_custom_data({"operator": "me"}) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("state", "asleep"), ("success", "maybe"), ("takeovers", "[[1]]"), ("takeovers", "{"), ("dropped", "3")],
)
def test_malformed_entries_are_named(key, value):
    custom = EpisodeMetadata().to_custom_data() | {f"dream_vla.{key}": value}
    with pytest.raises(DataError, match=f"dream_vla.{key}"):
        EpisodeMetadata.from_custom_data(custom)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "- 1",
        "rosbag2_bagfile_information: {}",
        "rosbag2_bagfile_information: {storage_identifier: m}",
    ],
)
def test_what_is_no_metadata_is_refused(text):
    with pytest.raises(BagError):
        BagMetadata.parse(text)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "metadata.yaml"
    write_atomically(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old"


def test_the_hash_is_of_the_robots_file():
    known = EpisodeMetadata(embodiment="robot: a\n")
    assert known.embodiment_sha256 == hashlib.sha256(b"robot: a\n").hexdigest()
    assert EpisodeMetadata().embodiment_sha256 == ""
