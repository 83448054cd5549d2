"""The visualizer on the wire: markers of chunk, path and workspace, and the overlay image."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from ros_graph import BEST_EFFORT, Graph
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.geometry import Pose, angle_between
from dream_vla_ros.nodes.conversions import chunk_to_msg, pose_to_msg, time_to_msg, uuid_to_msg
from dream_vla_ros.nodes.demo.scene import camera_poses
from dream_vla_ros.nodes.visualizer.node import VisualizerParameters
from dream_vla_ros.parameters import ParameterError, build, read_file
from dream_vla_ros.report.overlay import AHEAD

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).parents[2] / "config" / "tabletop.yaml"
MODULE = "dream_vla_ros.nodes.visualizer.node"
HERE = Pose(np.array([0.3, 0.0, 0.2]), np.array([0.0, 1.0, 0.0, 0.0]))
GOAL = uuid.uuid4().bytes
STEPS = 8


class Robot:
    """Publishes what the visualizer looks at."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.states = graph.publisher(ControllerState, "controller_state")
        self.chunks = graph.publisher(ActionChunkMsg, "action_chunk")
        self.images = graph.publisher(Image, "third_person/image_raw", BEST_EFFORT)
        self.infos = graph.publisher(CameraInfo, "third_person/camera_info", BEST_EFFORT)
        self.markers = graph.record(MarkerArray, "markers")
        self.overlays = graph.record(Image, "overlay/image_raw", BEST_EFFORT)
        self.process = graph.start(MODULE, parameter_files=[CONFIG])
        graph.wait_matched(self.states, self.chunks, self.images, self.infos)

    def state(self, mode: int, goal_id: bytes, pose: Pose = HERE) -> None:
        msg = ControllerState(mode=mode, goal_id=uuid_to_msg(goal_id), measured=pose_to_msg(pose))
        msg.header.stamp = time_to_msg(self.graph.now_ns())
        self.states.publish(msg)

    def chunk(self) -> None:
        made = ActionChunk(
            np.tile([0.01, 0.0, 0.0], (STEPS, 1)),
            np.zeros((STEPS, 3)),
            np.ones(STEPS),
            0.2,
            self.graph.now_ns(),
            GOAL,
            1,
        )
        self.chunks.publish(chunk_to_msg(made, frame_id="base_link"))

    def image(self, size: int = 112) -> None:
        header = Header(stamp=time_to_msg(self.graph.now_ns()), frame_id="third_person_optical_frame")
        msg = Image(header=header, height=size, width=size, encoding="rgb8", step=3 * size)
        msg.data = bytes(3 * size * size)
        self.images.publish(msg)
        focal = size / 2 / np.tan(np.radians(19.0))
        middle = (size - 1) / 2
        self.infos.publish(
            CameraInfo(
                header=header,
                height=size,
                width=size,
                k=[focal, 0.0, middle, 0.0, focal, middle, 0.0, 0.0, 1.0],
            )
        )


def by_namespace(array: MarkerArray) -> dict[str, Marker]:
    return {marker.ns: marker for marker in array.markers}


def test_motion_is_shown_while_it_goes_on(graph: Graph):
    robot = Robot(graph)

    def shown(mode: int, goal_id: bytes, action: int) -> bool:
        # About as often as a robot does. A publisher may know its reader before the reader knows it, so that
        # a single first chunk could be lost.
        time.sleep(0.05)
        if goal_id == GOAL:
            robot.chunk()
        robot.state(mode, goal_id)
        robot.image()
        last = robot.markers.last
        return last is not None and by_namespace(last)["chunk"].action == action

    graph.wait(lambda: shown(ControllerState.IDLE, bytes(16), Marker.DELETE))
    graph.wait(lambda: shown(ControllerState.EXECUTING, GOAL, Marker.ADD))
    drawn = by_namespace(robot.markers.last)
    chunk = drawn["chunk"]
    assert chunk.header.frame_id == "base_link"
    assert len(chunk.points) == STEPS + 1
    assert len(drawn["chunk_steps"].points) == STEPS
    assert chunk.points[0].x == pytest.approx(0.3)
    assert chunk.points[-1].x == pytest.approx(0.3 + STEPS * 0.01)
    assert len(drawn["workspace"].points) == 24
    assert max(point.z for point in drawn["workspace"].points) == pytest.approx(0.4)

    def coloured() -> bool:
        shown(ControllerState.EXECUTING, GOAL, Marker.ADD)
        if robot.overlays.last is None:
            return False
        picture = np.frombuffer(bytes(robot.overlays.last.data), np.uint8).reshape(112, 112, 3)
        return bool((np.abs(picture.astype(int) - np.array(AHEAD)).max(axis=2) < 40).any())

    graph.wait(coloured)
    assert robot.overlays.last.header.frame_id == "third_person_optical_frame"
    # Another goal's chunk is nobody's plan any more.
    graph.wait(lambda: shown(ControllerState.EXECUTING, uuid.uuid4().bytes, Marker.DELETE))


def test_the_configuration_says_where_the_simulated_camera_is():
    values = read_file(CONFIG, node="/**/visualizer")
    pose, on_arm = camera_poses()["third_person"]
    assert not on_arm
    np.testing.assert_allclose(values["camera_position"], pose.position, atol=1e-6)
    assert angle_between(values["camera_orientation"], pose.quaternion) < 1e-5


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"camera_position": [0.0, 0.0]}, "camera_position has 2 numbers"),
        ({"camera_position": [0.0] * 3, "camera_orientation": [1.0]}, "camera_orientation has 1 numbers"),
        ({"camera_orientation": [0.0, 0.0, 0.0, 1.0]}, "camera_orientation has 4 numbers"),
    ],
)
def test_a_pose_that_is_none_is_refused(parameters: dict, words: str):
    with pytest.raises(ParameterError, match=words):
        build(VisualizerParameters, parameters)


def test_an_unknown_camera_is_named(graph: Graph):
    process = graph.start(MODULE, parameter_files=[CONFIG], parameters={"camera": "side"})
    assert process.wait(60.0) == 2
    assert "no camera 'side'; there are third_person, wrist" in process.log()
