"""Tests for the definitions that bags carry."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from dream_vla_ros.data.definitions import Definitions
from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.messages import Decoder, UndecodableError

OWN = Path(__file__).parents[2] / "src" / "dream_vla_msgs"


@pytest.fixture
def prefix(tmp_path):
    share = tmp_path / "share" / "dream_vla_msgs"
    share.parent.mkdir()
    share.symlink_to(OWN)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["sensor_msgs/msg/Image", "tf2_msgs/msg/TFMessage", "std_msgs/msg/Float64MultiArray"]
)
def test_standard_types_need_no_installation(name):
    topic = Definitions([]).topic("/topic", name, qos="[]")
    assert (topic.name, topic.type, topic.qos) == ("/topic", name, "[]")
    reference = get_typestore(Stores.ROS2_JAZZY)
    assert topic.type_hash == reference.hash_rihs01(name)
    empty = get_typestore(Stores.EMPTY)
    empty.register(get_types_from_msg(topic.definition, name))
    assert empty.fielddefs[name] == reference.fielddefs[name]


def test_installed_packages_are_read_with_all_they_need(prefix):
    topic = Definitions([prefix]).topic("/chunk", "dream_vla_msgs/msg/ActionChunk")
    for needed in ("dream_vla_msgs/ActionStep", "unique_identifier_msgs/UUID", "std_msgs/Header"):
        assert f"MSG: {needed}" in topic.definition
    empty = get_typestore(Stores.EMPTY)
    empty.register(get_types_from_msg(topic.definition, topic.type))
    made = empty.types["dream_vla_msgs/msg/ActionStep"]
    assert {"translation", "rotation", "gripper"} <= set(made.__annotations__)


def installed_hashes() -> list[tuple[str, str]]:
    """What the ROS build itself has hashed."""
    found = []
    for root in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        for package in ("dream_vla_msgs", "sensor_msgs"):
            for path in sorted(Path(root or "/nowhere").glob(f"share/{package}/msg/*.json")):
                first = json.loads(path.read_text())["type_hashes"][0]
                found.append((first["type_name"], first["hash_string"]))
    return found


@pytest.mark.skipif(not installed_hashes(), reason="no ROS packages on AMENT_PREFIX_PATH")
def test_hashes_are_those_of_ros():
    known = Definitions()
    for name, expected in installed_hashes():
        assert known.topic("/topic", name).type_hash == expected, name


def test_types_that_are_nowhere_are_named(prefix):
    with pytest.raises(DataError, match="nothing defines secret_msgs/msg/Plan.*source its workspace"):
        Definitions([prefix]).topic("/plan", "secret_msgs/msg/Plan")


@pytest.mark.parametrize("unused", [b"", b"\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04\x05\x06\x07\x08"])
def test_bytes_that_a_serialiser_left_unused_are_cut_off(recorded, unused: bytes):
    definitions = Definitions([])
    for kind in ("sensor_msgs/msg/JointState", "geometry_msgs/msg/PoseStamped", "sensor_msgs/msg/Image"):
        one = next(one for one in recorded if one.type == kind)
        definitions.topic(one.topic, kind)
        exact = definitions.exact(kind, one.data + unused)
        assert one.data.startswith(exact)
        assert len(one.data) - len(exact) < 4


def test_messages_with_unused_bytes_are_read(recorded):
    decoder = Decoder([])
    one = next(one for one in recorded if one.type == "sensor_msgs/msg/JointState")
    for unused in (b"", b"\xff\xff\xff", b"\xff\xff\xff\xff", b"\xff" * 7):
        assert list(decoder.decode(one.data + unused, one.type).name) == ["left_finger", "right_finger"]
    with pytest.raises(UndecodableError):
        decoder.decode(one.data + b"\xff" * 12, one.type)
