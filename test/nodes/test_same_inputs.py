"""The same bag gives the same model inputs as a training set and live, through the policy's own inputs."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from ros_graph import BEST_EFFORT, RELIABLE, Graph
from rosgraph_msgs.msg import Clock

sys.path.insert(0, str(Path(__file__).parents[1] / "data" / "helpers"))

from bag_scene import Recorded, Scene, stamp, write_with_rosbags

from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.bag_episodes import BagRules, read_episodes
from dream_vla_ros.data.convert import Conversion, convert, find_sources
from dream_vla_ros.data.dataset_read import Dataset
from dream_vla_ros.data.dataset_stage import ImageRules, ImageStorage
from dream_vla_ros.data.idle import IdleRule, Trim
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.images import Preprocessing
from dream_vla_ros.nodes.conversions import time_from_msg, time_to_msg
from dream_vla_ros.nodes.policy.inputs import CameraObserver
from dream_vla_ros.nodes.recorder.topics import message_class
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.policy.frames import MissingInputError
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.proprio import ProprioWriter
from dream_vla_ros.policy.transforms import model_images

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).parents[2] / "config" / "tabletop.yaml"
PUBLISHED = Preprocessing(64, jpeg=True, crop_area=0.9)
STATE_TOPICS = ("/ee_pose", "/joint_states")
MS = 10**6
# Cameras and state run on clocks of their own phase, and the arm's state comes later than the images do.
PHASES_MS = {"wrist": 13, "ee_pose": 7, "joint_states": 3}
TASK = "stack the red block on the blue one"
RULES = BagRules(idle=IdleRule(Trim.NONE), task=TASK)


def out_of_phase(messages: list[Recorded]) -> list[Recorded]:
    """Shift each topic by its phase, stamp and arrival alike."""
    moved = []
    for one in messages:
        phase = next((ms for name, ms in PHASES_MS.items() if name in one.topic), 0) * MS
        message = copy.deepcopy(one.message)
        if hasattr(message, "header"):
            was = message.header.stamp
            message.header.stamp = stamp(was.sec * 10**9 + was.nanosec + phase)
        moved.append(replace(one, log_ns=one.log_ns + phase, message=message))
    return sorted(moved, key=lambda one: one.log_ns)


@pytest.fixture(scope="module")
def messages() -> list[Recorded]:
    latency = {"ee_pose": 30 * MS, "third_person/image_raw": 12 * MS, "wrist/image_raw": 25 * MS}
    scene = Scene(duration_s=3.0, size=(48, 64), latency_ns=latency, close_at_s=1.5)
    return out_of_phase(scene.messages())


@pytest.fixture(scope="module")
def dataset(messages: list[Recorded], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("same")
    write_with_rosbags(folder / "bags" / "one", messages)
    images = ImageRules(ImageStorage.EXACT)
    convert(Conversion(find_sources([folder / "bags"]), CONFIG, folder / "set", RULES, images, workers=1))
    return Dataset(folder / "set")


def play(graph: Graph, messages: list[Recorded], robot: Embodiment) -> list[Observation]:
    """Publish a bag as it was received, and observe as the policy does after every image."""
    node = graph.node
    node.set_parameters([Parameter("use_sim_time", value=True)])
    clock = graph.publisher(Clock, "/clock")
    received = 0

    def count() -> None:
        nonlocal received
        received += 1

    def set_clock(ns: int) -> None:
        clock.publish(Clock(clock=time_to_msg(ns)))
        graph.wait(lambda: graph.now_ns() == ns, what="the clock")

    states = StateSource(node, robot)
    observer = CameraObserver(node, robot, states, count)
    publishers = {}
    for one in messages:
        if one.topic not in publishers and (
            "image" in one.topic or one.topic in ("/ee_pose", "/joint_states")
        ):
            qos = BEST_EFFORT if "image" in one.topic else RELIABLE
            publishers[one.topic] = graph.publisher(message_class(one.type), one.topic.lstrip("/"), qos)
    graph.wait_matched(clock, *publishers.values())
    seen: list[Observation] = []
    newest_ns = 0
    images = 0
    for one in messages:
        if one.topic not in publishers:
            continue
        set_clock(one.log_ns)
        message = deserialize_message(one.data, message_class(one.type))
        stamped = time_from_msg(message.header.stamp)
        publishers[one.topic].publish(message)
        if "image" in one.topic:
            images += 1
            graph.wait(lambda: received == images, what=f"image {images}")  # noqa: B023
        else:
            graph.wait(lambda: arrived(states, one.topic, stamped), what=one.topic)  # noqa: B023
        try:
            observation = observer.observe(TASK, newest_ns)
        except MissingInputError:
            continue
        newest_ns = observation.oldest_stamp_ns
        seen.append(observation)
    return seen


def arrived(states: StateSource, topic: str, stamp_ns: int) -> bool:
    """Say whether a state message was taken in; joints alone show only once there is a pose."""
    newest = states.latest()
    if topic == "/ee_pose":
        return newest is not None and newest.stamp_ns == stamp_ns
    return newest is None or newest.joints_stamp_ns == stamp_ns


def test_a_set_and_a_live_policy_see_the_same(graph: Graph, messages: list[Recorded], dataset: Dataset):
    robot = Embodiment.from_file(CONFIG)
    live = {tuple(one.stamps_ns[name] for name in one.stamps_ns): one for one in play(graph, messages, robot)}
    statistics = dataset.statistics[robot.action.unnorm_key]["proprio"]
    centre = (np.array(statistics["q01"]) + np.array(statistics["q99"])) / 2.0
    write, prepare = ProprioWriter(robot), model_images(robot, PUBLISHED)
    with Bag(dataset.path.parent / "bags" / "one") as bag:
        read = read_episodes(bag, robot, RULES).episodes
    assert [len(one) for one in read] == [one.length for one in dataset.episodes]
    compared = 0
    for source, episode in zip(read, dataset.episodes, strict=True):
        columns = dataset.columns(episode, ["observation.state"])
        images = {name: dataset.images(episode, name) for name in dataset.cameras}
        for row in range(episode.length):
            key = tuple(int(source.image_stamps_ns[camera.name][row]) for camera in robot.cameras)
            if key not in live:
                continue
            compared += 1
            found = live[key]
            stored = {name: images[name][row].decode() for name in images}
            recorded = replace(found, images=stored)
            for name, pixels in prepare(recorded).images.items():
                np.testing.assert_array_equal(pixels, prepare(found).images[name])
            proprio = write(found.state, near=centre)
            np.testing.assert_array_equal(proprio.astype(np.float32), columns["observation.state"][row])
    # All but the last, whose state had not come when the bag ended.
    assert compared >= dataset.frames - 1
