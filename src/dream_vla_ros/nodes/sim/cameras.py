"""Images and calibration of the simulated cameras on their topics."""

from __future__ import annotations

import array
from dataclasses import dataclass

import numpy as np
import simplejpeg
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from dream_vla_ros.embodiment import Embodiment, ImageTransport
from dream_vla_ros.nodes.conversions import time_to_msg
from dream_vla_ros.parameters import ParameterError
from dream_vla_ros.sim.cameras import CAMERAS
from dream_vla_ros.sim.simulation import TabletopSim


@dataclass
class _Outlet:
    camera: str
    raw: Publisher | None
    compressed: Publisher | None
    info: Publisher | None


class SimCameras:
    """Publishes what the cameras see, best effort as camera drivers do.

    Only what someone listens to is rendered and encoded.

    :param node: Node that publishes.
    :param embodiment: Names the cameras, topics and transports.
    :param jpeg_quality: Quality of compressed images, 1 to 100.
    :raises ParameterError: If a camera is none of the simulated ones.
    """

    def __init__(self, node: Node, embodiment: Embodiment, jpeg_quality: int) -> None:
        self._jpeg_quality = jpeg_quality
        self._outlets = []
        for camera in embodiment.cameras:
            if camera.name not in CAMERAS:
                raise ParameterError(
                    f"parameter 'cameras.names' has '{camera.name}'; the simulation has {', '.join(CAMERAS)}"
                )
            raw = camera.transport is ImageTransport.RAW
            compressed_topic = f"{camera.topic}/compressed" if raw else camera.topic
            self._outlets.append(
                _Outlet(
                    camera.name,
                    node.create_publisher(Image, camera.topic, qos_profile_sensor_data) if raw else None,
                    node.create_publisher(CompressedImage, compressed_topic, qos_profile_sensor_data),
                    node.create_publisher(CameraInfo, camera.info_topic, qos_profile_sensor_data)
                    if camera.info_topic
                    else None,
                )
            )

    def publish(self, sim: TabletopSim, stamp_ns: int) -> None:
        """Publish one image of each camera.

        :param sim: Rendered here, so always call from the same thread.
        :param stamp_ns: Time of the simulated moment.
        """
        for outlet in self._outlets:
            header = Header(stamp=time_to_msg(stamp_ns), frame_id=f"{outlet.camera}_optical_frame")
            raw, compressed = _wanted(outlet.raw), _wanted(outlet.compressed)
            if raw is not None or compressed is not None:
                image = sim.render(outlet.camera)
                if raw is not None:
                    raw.publish(_image(header, image))
                if compressed is not None:
                    compressed.publish(self._compressed(header, image))
            if outlet.info is not None:
                outlet.info.publish(
                    _camera_info(header, sim.camera_intrinsics(outlet.camera), sim.image_size)
                )

    def _compressed(self, header: Header, image: np.ndarray) -> CompressedImage:
        data = simplejpeg.encode_jpeg(
            np.ascontiguousarray(image), quality=self._jpeg_quality, colorspace="RGB"
        )
        msg = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
        msg.data = array.array("B", data)
        return msg


def _wanted(publisher: Publisher | None) -> Publisher | None:
    return publisher if publisher is not None and publisher.get_subscription_count() else None


def _image(header: Header, image: np.ndarray) -> Image:
    height, width, channels = image.shape
    msg = Image(header=header, height=height, width=width, encoding="rgb8", step=width * channels)
    msg.data = array.array("B", image.tobytes())
    return msg


def _camera_info(header: Header, matrix: np.ndarray, size: tuple[int, int]) -> CameraInfo:
    msg = CameraInfo(header=header, height=size[0], width=size[1], distortion_model="plumb_bob")
    msg.d = [0.0] * 5
    msg.k = matrix.ravel()
    msg.r = np.eye(3).ravel()
    msg.p = np.hstack([matrix, np.zeros((3, 1))]).ravel()
    return msg
