"""Tests of receiving images from raw and compressed topics over real DDS."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from ros_graph import BEST_EFFORT, RELIABLE
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.camera_source import CameraSource
from dream_vla_ros.nodes.conversions import time_to_msg
from dream_vla_ros.policy.frames import MissingInputError

pytestmark = pytest.mark.ros

RED = np.full((12, 16, 3), (200, 40, 30), np.uint8)


@pytest.fixture
def embodiment():
    robot = Embodiment.from_parameters(
        {
            "robot": "test",
            "cameras.names": ["front", "wrist"],
            "cameras.front.topic": "front",
            "cameras.wrist.topic": "wrist/compressed",
            "cameras.wrist.transport": "compressed",
        }
    )
    # Generous, so that a busy machine does not make images old between sending and looking.
    return replace(robot, timing=replace(robot.timing, image_max_age=10.0, camera_max_skew=2.0))


@pytest.fixture
def source(graph, embodiment):
    made = CameraSource(graph.node, embodiment)
    yield made
    made.destroy()


class Cameras:
    def __init__(self, graph):
        self.graph = graph
        # One reliable, one best effort: both kinds of driver must be heard.
        self.front = graph.publisher(Image, "front", RELIABLE)
        self.wrist = graph.publisher(CompressedImage, "wrist/compressed", BEST_EFFORT)
        graph.wait_matched(self.front, self.wrist)

    def header(self, offset_s=0.0):
        return Header(stamp=time_to_msg(self.graph.now_ns() + round(offset_s * 1e9)))

    def send_front(self, *, encoding="bgr8", offset_s=0.0):
        self.front.publish(
            Image(
                header=self.header(offset_s),
                height=12,
                width=16,
                encoding=encoding,
                step=48,
                data=RED[..., ::-1].tobytes(),
            )
        )

    def send_wrist(self, *, cut=None):
        data = cv2.imencode(".jpg", RED[..., ::-1])[1].tobytes()[:cut]
        self.wrist.publish(CompressedImage(header=self.header(), format="jpeg", data=data))


@pytest.fixture
def cameras(graph, source):
    return Cameras(graph)


def received(source, count=1):
    return all(camera.received >= count for camera in source.statistics())


def test_raw_and_compressed_images_come_as_rgb(graph, source, cameras):
    with pytest.raises(MissingInputError, match="no image on '/test_.*/front'"):
        source.latest()
    cameras.send_front()
    cameras.send_wrist()
    graph.wait(lambda: received(source), what="both images")
    images, stamps = source.latest()
    assert list(images) == ["front", "wrist"]
    assert np.array_equal(images["front"], RED)
    assert np.abs(images["wrist"].astype(int) - RED).mean() < 4.0
    assert all(0 < graph.now_ns() - stamp < 10e9 for stamp in stamps.values())
    with pytest.raises(MissingInputError, match="no new image"):
        source.latest(newer_than_ns=min(stamps.values()))


@pytest.mark.parametrize(
    ("front", "wrist", "complaint"),
    [
        ({"encoding": "32FC1"}, {}, "front' with encoding '32FC1'"),
        ({}, {"cut": -20}, "wrist/compressed' with format 'jpeg': is cut short"),
        ({"offset_s": 5.0}, {}, r"front.*stamped (4|5)\.\d+ s in the future"),
    ],
)
def test_unusable_image_is_reported_and_not_used(graph, source, cameras, front, wrist, complaint):
    cameras.send_front(**front)
    cameras.send_wrist(**wrist)
    graph.wait(lambda: received(source), what="both images")
    with pytest.raises(MissingInputError, match=complaint):
        source.latest()
    refused = {camera.name: camera.refused for camera in source.statistics()}
    assert refused == {"front": 1 if front else 0, "wrist": 1 if wrist else 0}
    cameras.send_front()
    cameras.send_wrist()
    graph.wait(lambda: received(source, 2), what="both images again")
    assert set(source.latest()[0]) == {"front", "wrist"}


def test_destroyed_source_hears_nothing(graph, embodiment):
    source = CameraSource(graph.node, embodiment)
    cameras = Cameras(graph)
    source.destroy()
    graph.wait(lambda: cameras.front.get_subscription_count() == 0, what="the subscription to go")
