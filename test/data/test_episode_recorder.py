"""Episodes one after another, what they lose and what they say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dream_vla_ros.data.bag_metadata import BagMetadata
from dream_vla_ros.data.bag_writer import BagStorage, WriterLimits
from dream_vla_ros.data.episode_metadata import EpisodeMetadata, RecordingState, Takeover
from dream_vla_ros.data.episode_recorder import EpisodeRecorder, RecorderError, Robot
from dream_vla_ros.data.storage import StoredTopic

TOPIC = StoredTopic("/bytes", "std_msgs/msg/ByteMultiArray", definition="byte[] data\n")
SECOND = 10**9


def recorder(folder: Path, **keywords: object) -> EpisodeRecorder:
    return EpisodeRecorder(folder, Robot("bench", "robot: bench\n"), **keywords)


def known(path: Path) -> EpisodeMetadata:
    found = EpisodeMetadata.from_custom_data(BagMetadata.read(path).custom)
    assert found is not None
    return found


@pytest.mark.parametrize("storage", list(BagStorage))
def test_an_episode_keeps_messages_and_what_is_known_of_it(tmp_path: Path, storage: BagStorage):
    made = recorder(tmp_path / "bags", storage=storage)
    assert made.name == ""
    path = made.start(" pick it up ", "Ada", 5 * SECOND)
    assert made.name == path.name
    for number in range(10):
        assert made.write(TOPIC, bytes([0, 1, 0, 0, number]), (5 + number) * SECOND)
    made.take_over(True, 7 * SECOND)
    made.take_over(True, 8 * SECOND)
    made.take_over(False, 9 * SECOND)
    made.lose("/bytes", 3)
    report = made.stop(True, "fine", 15 * SECOND)
    assert report.recorded == {"/bytes": 10}
    assert report.lost == {"/bytes": 3}
    assert report.duration_s == pytest.approx(9.0)
    assert not report.failure
    metadata = known(path)
    assert metadata == EpisodeMetadata(
        task="pick it up",
        success=True,
        notes="fine",
        robot="bench",
        embodiment="robot: bench\n",
        operator="Ada",
        takeovers=(Takeover(7 * SECOND, 9 * SECOND),),
        state=RecordingState.FINISHED,
        dropped=(("/bytes", 3),),
    )


def test_a_topic_that_lost_all_its_messages_is_told_too(tmp_path: Path):
    made = recorder(tmp_path)
    made.start("t", "", 0)
    made.write(TOPIC, b"12345", 1)
    made.lose("/camera", 2)
    report = made.stop(True, "", 3)
    assert report.recorded == {"/bytes": 1}
    assert report.lost == {"/bytes": 0, "/camera": 2}
    assert dict(known(report.path).dropped)["/camera"] == 2


def test_a_take_over_that_lasts_is_closed_with_the_episode(tmp_path: Path):
    made = recorder(tmp_path)
    path = made.start("t", "", SECOND, taken_over=True)
    assert known(path).takeovers == (Takeover(SECOND, None),)
    made.stop(True, "", 4 * SECOND)
    assert known(path).takeovers == (Takeover(SECOND, 4 * SECOND),)


def test_episodes_that_begin_in_the_same_second_have_bags_of_their_own(tmp_path: Path):
    made = recorder(tmp_path)
    paths = []
    for _ in range(3):
        paths.append(made.start("t", "", 0))
        made.stop(False, "", 0)
    assert len({str(path) for path in paths}) == 3
    assert all(known(path).success is False for path in paths)


def test_a_discarded_episode_is_gone(tmp_path: Path):
    made = recorder(tmp_path)
    path = made.start("t", "", 0)
    made.write(TOPIC, b"12345", 1)
    assert made.discard() == path.name
    assert not path.exists()
    assert made.name == ""


def test_what_cannot_be_done_now_is_refused(tmp_path: Path):
    made = recorder(tmp_path)
    for call in (lambda: made.stop(True, "", 0), made.discard):
        with pytest.raises(RecorderError, match="no episode"):
            call()
    with pytest.raises(RecorderError, match="task is empty"):
        made.start("  ", "", 0)
    made.start("t", "", 0)
    with pytest.raises(RecorderError, match="stop or discard"):
        made.start("t", "", 0)


def test_without_an_episode_nothing_is_kept(tmp_path: Path):
    made = recorder(tmp_path)
    assert not made.write(TOPIC, b"12345", 0)
    assert made.status() is None
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_refused_and_leaves_no_folder(tmp_path: Path):
    made = recorder(tmp_path, limits=WriterLimits(min_free_bytes=1 << 60))
    with pytest.raises(RecorderError, match="must stay free"):
        made.start("t", "", 0)
    assert list(tmp_path.iterdir()) == []


def test_silence_is_told_by_topic(tmp_path: Path):
    made = recorder(tmp_path)
    assert made.silence_s("/bytes") == 0.0
    made.start("t", "", 0)
    assert not made.heard("/bytes")
    made.write(TOPIC, b"12345", 0)
    assert made.heard("/bytes")
    assert made.silence_s("/bytes") <= made.silence_s("/other")
