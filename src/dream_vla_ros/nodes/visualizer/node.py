"""The visualizer: chunk, path and workspace as markers for RViz, and drawn into the camera's image."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from visualization_msgs.msg import MarkerArray

from dream_vla_msgs.msg import ActionChunk, ControllerState
from dream_vla_ros.embodiment import Camera, Frames, ImageTransport
from dream_vla_ros.geometry import Pose
from dream_vla_ros.images import ImageError, decode
from dream_vla_ros.nodes.matching import SENSOR, MatchingSubscription
from dream_vla_ros.nodes.parameters import declare, declare_embodiment
from dream_vla_ros.nodes.serving import run_node
from dream_vla_ros.nodes.spinner import Spinner
from dream_vla_ros.nodes.state_source_tf import TransformSource
from dream_vla_ros.nodes.visualizer.markers import markers
from dream_vla_ros.nodes.visualizer.scene import MotionSeen
from dream_vla_ros.parameters import ParameterError, param
from dream_vla_ros.report.overlay import draw_overlay
from dream_vla_ros.report.projection import PinholeCamera

_DEPTH = 10
_LOG_PERIOD_S = 10.0
# A distortion below this moves no point of an image by a pixel.
_FAINT_DISTORTION = 1e-3


@dataclass(frozen=True)
class VisualizerParameters:
    """What is shown."""

    rate: float = param(10.0, "Markers and overlay images per second [Hz].", minimum=0.2, maximum=60.0)
    path_time: float = param(
        30.0, "How much of the path behind the end effector is shown [s].", minimum=0.0, maximum=600.0
    )
    camera: str = param("", "Camera that the overlay is drawn for; empty takes the first one.")
    camera_position: tuple[float, ...] = param(
        (), "Position of the camera's optical frame in the base frame [m]; empty looks it up in tf."
    )
    camera_orientation: tuple[float, ...] = param(
        (), "Its orientation there, quaternion x, y, z, w; z looks forward, x right, y down."
    )

    def __post_init__(self) -> None:
        if len(self.camera_position) not in (0, 3):
            raise ParameterError(f"camera_position has {len(self.camera_position)} numbers, not x, y, z")
        if len(self.camera_orientation) != (4 if self.camera_position else 0):
            raise ParameterError(
                f"camera_orientation has {len(self.camera_orientation)} numbers; with camera_position it "
                "takes x, y, z, w"
            )


class VisualizerNode(Node):
    """Shows; commands nothing.

    :raises ParameterError: Naming the parameter and what is allowed.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__("visualizer", **arguments)
        self._embodiment = declare_embodiment(self)
        parameters = declare(self, VisualizerParameters)
        self._base = self._embodiment.frames.base
        self._seen = MotionSeen(self._embodiment, parameters.path_time)
        self._logged: dict[str, float] = {}
        self._camera = self._choose(parameters.camera)
        self._pose: Pose | None = None
        self._transforms: TransformSource | None = None
        if parameters.camera_position:
            try:
                self._pose = Pose(
                    np.array(parameters.camera_position), np.array(parameters.camera_orientation)
                )
            except ValueError as error:
                raise ParameterError(f"camera_position, camera_orientation: {error}") from error
        self._optics: PinholeCamera | None = None
        self._image: Any = None
        self._markers = self.create_publisher(MarkerArray, "markers", _DEPTH)
        self._overlays = self.create_publisher(Image, "overlay/image_raw", qos_profile_sensor_data)
        self.create_subscription(ActionChunk, "action_chunk", self._seen.on_chunk, QoSProfile(depth=_DEPTH))
        self.create_subscription(
            ControllerState, "controller_state", self._seen.on_state, QoSProfile(depth=_DEPTH)
        )
        raw = self._camera.transport is ImageTransport.RAW
        self._images = MatchingSubscription(
            self, Image if raw else CompressedImage, self._camera.topic, self._on_image, SENSOR
        )
        if self._camera.info_topic:
            self._infos = MatchingSubscription(
                self, CameraInfo, self._camera.info_topic, self._on_info, SENSOR
            )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / parameters.rate, self._show, clock=steady)

    def _choose(self, name: str) -> Camera:
        if not name:
            return self._embodiment.cameras[0]
        try:
            return self._embodiment.camera(name)
        except KeyError as error:
            raise ParameterError(f"parameter 'camera': {error.args[0]}") from error

    def _on_image(self, msg: Any) -> None:
        self._image = msg

    def _on_info(self, msg: CameraInfo) -> None:
        try:
            self._optics = PinholeCamera(np.array(msg.k).reshape(3, 3), msg.width, msg.height)
        except ValueError as error:
            self._warn("info", f"{self._infos.topic_name}: {error}")
            return
        if max((abs(d) for d in msg.d), default=0.0) > _FAINT_DISTORTION:
            self._warn(
                "distortion",
                f"the lens of camera '{self._camera.name}' is not rectified: the overlay is off towards the "
                "edges; name a rectified image and its camera_info in the robot's parameter file",
            )

    def _show(self) -> None:
        scene = self._seen.scene()
        if self._markers.get_subscription_count():
            self._markers.publish(markers(scene, self._base, self.get_clock().now().to_msg()))
        msg, self._image = self._image, None
        if msg is None or not self._overlays.get_subscription_count():
            return
        if self._optics is None:
            self._warn("optics", f"no overlay: no camera_info on '{self._camera.info_topic}' yet")
            return
        pose = self._pose or self._look_up(msg.header.frame_id)
        if pose is None:
            return
        try:
            image = decode(msg, self._camera.topic)
        except ImageError as error:
            self._warn("image", str(error))
            return
        drawn = draw_overlay(image, self._optics, pose, scene)
        height, width = drawn.shape[:2]
        overlay = Image(header=msg.header, height=height, width=width, encoding="rgb8", step=3 * width)
        overlay.data = array.array("B", drawn.tobytes())
        self._overlays.publish(overlay)

    def _look_up(self, frame_id: str) -> Pose | None:
        try:
            if self._transforms is None:
                self._transforms = TransformSource(self, Frames(self._base, frame_id))
            found = self._transforms.latest()
        except ValueError as error:
            self._warn("tf", f"no overlay: {error}; or give camera_position and camera_orientation")
            return None
        if found is None:
            self._warn("tf", f"no overlay: {self._transforms.problem}")
            return None
        return found[0]

    def _warn(self, topic: str, message: str) -> None:
        now_s = time.monotonic()
        if now_s - self._logged.get(topic, float("-inf")) >= _LOG_PERIOD_S:
            self._logged[topic] = now_s
            self.get_logger().warning(message)


def main(args: Sequence[str] | None = None) -> int:
    """Run the visualizer until SIGINT or SIGTERM.

    :returns: Exit code: 0 when told to end, 2 for wrong parameters.
    """
    return run_node("visualizer", VisualizerNode, _serve, args)


def _serve(node: VisualizerNode, ending: threading.Event) -> int:
    spinner = Spinner(node, ending.set)
    spinner.start()
    ending.wait()
    spinner.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
