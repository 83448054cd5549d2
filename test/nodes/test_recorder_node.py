"""The recorder's process over real DDS: what is published is what is in the bag."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.serialization import deserialize_message, serialize_message
from ros_graph import BEST_EFFORT, LATCHED, RELIABLE, TIMEOUT_S, Graph
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from dream_vla_msgs.msg import ControllerState
from dream_vla_msgs.srv import DiscardEpisode, StartEpisode, StopEpisode
from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.bag_metadata import BagMetadata
from dream_vla_ros.data.episode_metadata import EpisodeMetadata, RecordingState, Takeover
from dream_vla_ros.data.errors import BagError
from dream_vla_ros.data.recover import recover
from dream_vla_ros.geometry import Pose
from dream_vla_ros.images import decode
from dream_vla_ros.nodes.conversions import pose_stamped, time_from_msg, time_to_msg

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).parents[2] / "config" / "tabletop.yaml"
MODULE = "dream_vla_ros.nodes.recorder.node"
KILLS = 5
MOST_LOST_S = 0.5
KINDS = {
    "third_person/image_raw": (Image, BEST_EFFORT),
    "wrist/image_raw": (Image, BEST_EFFORT),
    "ee_pose": (PoseStamped, RELIABLE),
    "joint_states": (JointState, RELIABLE),
    "controller_state": (ControllerState, RELIABLE),
    "robot_description": (String, LATCHED),
}


class Robot:
    """Publishes what the robot's file names; keeps what it sent, by topic.

    :param image_every: Steps from one image to the next.
    """

    def __init__(self, graph: Graph, leave_out: str = "", image_every: int = 1) -> None:
        self.graph = graph
        self.image_every = image_every
        self.sent: dict[str, list[bytes]] = {}
        self.number = 0
        self._publishers = {}
        for name, (kind, qos) in KINDS.items():
            if name != leave_out:
                self._publishers[name] = graph.publisher(kind, name, qos)
                self.sent[name] = []
        self._publishers["robot_description"].publish(String(data="<robot name='arm'/>"))
        self.taken_over = False

    def matched(self) -> None:
        self.graph.wait_matched(*self._publishers.values())

    def counts(self, what: str = "") -> dict[str, int]:
        """Return how many messages were sent, by name of the topic and what to add to it."""
        sent = {name: len(sent) for name, sent in self.sent.items() if name != "robot_description"}
        return {f"{name}{what}": count for name, count in sent.items()}

    def step(self) -> None:
        """Publish one message on each topic."""
        self.number += 1
        now = self.graph.now_ns()
        self._send("ee_pose", pose_stamped(Pose.identity(), now, "base_link"))
        joints = JointState(name=["left_finger", "right_finger"], position=[0.01, self.number * 1e-4])
        joints.header.stamp = time_to_msg(now)
        self._send("joint_states", joints)
        state = ControllerState(taken_over=self.taken_over)
        state.header.stamp = time_to_msg(now)
        self._send("controller_state", state)
        if self.number % self.image_every:
            return
        for name in ("third_person/image_raw", "wrist/image_raw"):
            pixels = np.random.default_rng(self.number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            image = Image(height=24, width=32, encoding="rgb8", step=96, data=pixels.tobytes())
            image.header.stamp = time_to_msg(now)
            self._send(name, image)

    def _send(self, name: str, message: object) -> None:
        if name in self._publishers:
            self.sent[name].append(bytes(serialize_message(message)))
            self._publishers[name].publish(message)


def run(robot: Robot, steps: int, period_s: float = 0.02) -> None:
    """Publish steps at a rate."""
    pause = threading.Event()
    for _ in range(steps):
        robot.step()
        pause.wait(period_s)


def settled(graph: Graph, health: object, counts: dict[str, int]) -> None:
    """Wait until the recorder says that it has as many messages of each topic."""

    def has(array: DiagnosticArray) -> bool:
        values = {pair.key: pair.value for status in array.status for pair in status.values}
        return all(values.get(f"{graph.namespace}/{name}") == str(count) for name, count in counts.items())

    health.wait(has, what=f"the recorder to have {counts}")


@pytest.fixture
def health(graph: Graph) -> Iterator[object]:
    return graph.record(DiagnosticArray, "/diagnostics")


def start(graph: Graph, task: str = "pick it up") -> StartEpisode.Response:
    request = StartEpisode.Request(task=task, operator_name="Ada")
    return graph.call(StartEpisode, "recorder/start_episode", request)


def stop(graph: Graph, success: bool = True, notes: str = "") -> StopEpisode.Response:
    request = StopEpisode.Request(task_succeeded=success, notes=notes)
    return graph.call(StopEpisode, "recorder/stop_episode", request)


def read(path: str) -> dict[str, list[bytes]]:
    """Return a bag's messages by topic, in order of arrival."""
    found: dict[str, list[bytes]] = {}
    with AnyReader([Path(path)]) as reader:
        for connection, _, data in reader.messages():
            found.setdefault(connection.topic, []).append(bytes(data))
    return found


def metadata_of(path: str | Path) -> EpisodeMetadata:
    found = EpisodeMetadata.from_custom_data(BagMetadata.read(Path(path)).custom)
    assert found is not None
    return found


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_messages_are_kept_as_they_were_sent(graph: Graph, health: object, tmp_path: Path, storage: str):
    # So few images that the recorder's queue for them holds for two seconds.
    robot = Robot(graph, image_every=4)
    graph.start(
        MODULE,
        parameter_files=[CONFIG],
        parameters={"folder": str(tmp_path / "bags"), "storage": storage, "robot_file": str(CONFIG)},
    )
    robot.matched()
    run(robot, 5)
    # None of these may still be on its way when the episode begins.
    settled(graph, health, robot.counts(" received"))
    began = start(graph)
    assert began.success
    assert began.message == ""
    for sent in robot.sent.values():
        sent.clear()
    run(robot, 30)
    robot.taken_over = True
    run(robot, 15)
    robot.taken_over = False
    run(robot, 15)
    settled(graph, health, robot.counts())
    ended = stop(graph, notes="went well")
    assert ended.success, ended.message
    assert ended.uri == began.uri
    found = read(ended.uri)
    for name, sent in robot.sent.items():
        if name == "robot_description":
            continue
        got = found[f"{graph.namespace}/{name}"]
        kind = KINDS[name][0]
        # CDR fills gaps between fields with bytes that are nobody's, so messages are compared, not bytes.
        assert [deserialize_message(one, kind) for one in got] == [
            deserialize_message(one, kind) for one in sent
        ]
    assert len(found[f"{graph.namespace}/robot_description"]) == 1
    counts = {topic.topic: (topic.recorded, topic.lost) for topic in ended.topics}
    assert counts[f"{graph.namespace}/ee_pose"] == (60, 0)
    known = metadata_of(ended.uri)
    assert (known.task, known.success, known.operator) == ("pick it up", True, "Ada")
    assert (known.notes, known.robot, known.state) == ("went well", "tabletop", RecordingState.FINISHED)
    assert known.embodiment == CONFIG.read_text()
    states = [deserialize_message(one, ControllerState) for one in robot.sent["controller_state"]]
    stamps = [time_from_msg(state.header.stamp) for state in states]
    assert known.takeovers == (Takeover(stamps[30], stamps[45]),)


def test_raw_images_can_be_recorded_as_png(graph: Graph, health: object, tmp_path: Path):
    robot = Robot(graph)
    graph.start(
        MODULE, parameter_files=[CONFIG], parameters={"folder": str(tmp_path / "bags"), "images": "png"}
    )
    robot.matched()
    assert start(graph).success
    run(robot, 10)
    settled(graph, health, {"wrist/image_raw/compressed": 10})
    ended = stop(graph)
    topic = f"{graph.namespace}/wrist/image_raw/compressed"
    with AnyReader([Path(ended.uri)]) as reader:
        images = [
            decode(reader.deserialize(data, connection.msgtype), topic)
            for connection, _, data in reader.messages()
            if connection.topic == topic
        ]
    expected = [np.random.default_rng(1 + k).integers(0, 256, (24, 32, 3), dtype=np.uint8) for k in range(10)]
    assert any(np.array_equal(images[0], one) for one in expected)
    assert len(images) == 10
    assert f"{graph.namespace}/wrist/image_raw" not in read(ended.uri)


def test_what_is_missing_is_named_before_and_during(graph: Graph, health: object, tmp_path: Path):
    robot = Robot(graph, leave_out="wrist/image_raw")
    graph.start(MODULE, parameter_files=[CONFIG], parameters={"folder": str(tmp_path / "bags")})
    robot.matched()
    run(robot, 5)
    began = start(graph)
    assert began.success
    assert f"{graph.namespace}/wrist/image_raw: nothing publishes it" in began.message
    assert "third_person" not in began.message
    run(robot, 5)
    # Now the others fall silent too.
    health.wait(
        lambda array: any("third_person/image_raw: silent" in status.message for status in array.status)
    )
    assert graph.call(DiscardEpisode, "recorder/discard_episode").success
    assert not Path(began.uri).exists()


def test_refusals_say_why(graph: Graph, tmp_path: Path):
    graph.start(MODULE, parameter_files=[CONFIG], parameters={"folder": str(tmp_path / "bags")})
    assert "no episode" in stop(graph).message
    assert "task is empty" in start(graph, " ").message
    assert start(graph).success
    assert "stop or discard" in start(graph).message


def test_a_recorder_told_to_end_closes_its_bag(graph: Graph, tmp_path: Path):
    process = graph.start(MODULE, parameter_files=[CONFIG], parameters={"folder": str(tmp_path / "bags")})
    began = start(graph)
    assert process.stop(signal.SIGTERM) == 0
    known = metadata_of(began.uri)
    assert known.state is RecordingState.FINISHED
    assert known.success is False
    assert "ended" in known.notes


def test_a_robot_file_of_another_robot_is_refused(graph: Graph, tmp_path: Path):
    process = graph.start(
        MODULE,
        parameter_files=[CONFIG],
        parameters={"folder": str(tmp_path), "robot_file": str(CONFIG.with_name("widowx.yaml"))},
    )
    assert process.wait() == 2
    assert "robot_file" in process.log()


def on_disk(path: Path) -> int:
    """Count the poses that a bag holds, which may be written at this moment."""
    try:
        with Bag(path) as bag:
            return sum(len(index) for name, index in bag.topics.items() if name.endswith("/ee_pose"))
    except BagError:
        return 0


def test_kills_cost_at_most_half_a_second(graph: Graph, tmp_path: Path):
    robot = Robot(graph)
    random = np.random.default_rng(0)
    costs_s = []
    for kill in range(KILLS):
        # The middleware takes a while to forget the node that was killed, and would call that one.
        name = f"recorder_{kill}"
        process = graph.start(
            MODULE,
            parameter_files=[CONFIG],
            parameters={"folder": str(tmp_path / name), "storage": ["mcap", "sqlite3"][kill % 2]},
            remappings={"__node": name},
        )
        began = graph.call(StartEpisode, f"{name}/start_episode", StartEpisode.Request(task="survive"))
        assert began.success, began.message
        path = Path(began.uri)
        deadline = time.monotonic() + TIMEOUT_S
        while on_disk(path) < 10:
            assert time.monotonic() < deadline, process.describe()
            run(robot, 10)
        safe = on_disk(path)
        run(robot, int(random.integers(1, 30)))
        killed_ns = graph.now_ns()
        assert process.stop(signal.SIGKILL) == -signal.SIGKILL
        recover(path, tmp_path / name / "saved")
        known = metadata_of(tmp_path / name / "saved")
        assert (known.task, known.state) == ("survive", RecordingState.RECOVERED)
        with AnyReader([tmp_path / name / "saved"]) as reader:
            poses = [ns for topic, ns, _ in reader.messages() if topic.topic.endswith("/ee_pose")]
        assert len(poses) >= safe
        costs_s.append((killed_ns - max(poses)) * 1e-9)
    # The processor may be busy with something else for longer at one kill or another.
    assert min(costs_s) <= MOST_LOST_S


def test_a_recording_that_is_cut_short_says_why_when_it_is_stopped(graph: Graph, tmp_path: Path):
    process = graph.start(MODULE, parameter_files=[CONFIG], parameters={"folder": str(tmp_path / "bags")})
    began = start(graph)
    assert began.success
    Path(began.uri).rename(tmp_path / "moved")
    graph.wait(lambda: "ends:" in process.log(), what="the recorder to notice")
    ended = stop(graph)
    assert not ended.success
    assert f"{began.episode} was cut short" in ended.message
    assert "No such file" in ended.message
