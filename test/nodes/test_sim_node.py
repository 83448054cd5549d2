import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from ros_graph import BEST_EFFORT, LATCHED
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Bool, Float64MultiArray, String
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

from dream_vla_ros.geometry import angle_between
from dream_vla_ros.images import decode
from dream_vla_ros.kinematics import ForwardKinematics
from dream_vla_ros.nodes.conversions import pose_from_msg, pose_stamped, time_from_msg
from dream_vla_ros.sim.expert import PERIOD_S, plan
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import task_from_instruction

CONFIG = Path(__file__).parents[2] / "config" / "tabletop.yaml"
MODULE = "dream_vla_ros.nodes.sim.node"
SIZE = {"image_height": 96, "image_width": 128}
TICK_S = 0.02

pytestmark = pytest.mark.ros


class Arm:
    """The test's end of the topics: what a controller would hear and say."""

    def __init__(self, graph):
        self.graph = graph
        self.poses = graph.record(PoseStamped, "ee_pose")
        self.joints = graph.record(JointState, "joint_states")
        self.blocks = graph.record(MarkerArray, "blocks")
        self.success = graph.record(Bool, "sim/success", LATCHED)
        self.task = graph.record(String, "sim/task", LATCHED)
        self.target = graph.publisher(PoseStamped, "target_pose")
        self.gripper = graph.publisher(Float64MultiArray, "gripper_command")

    def reset(self, task="pick up the red block", seed=0):
        values = [
            Parameter(
                name="task", value=ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=task)
            ),
            Parameter(
                name="seed", value=ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=seed)
            ),
        ]
        response = self.graph.call(
            SetParameters, "sim/set_parameters", SetParameters.Request(parameters=values)
        )
        assert all(result.successful for result in response.results), response
        response = self.graph.call(Trigger, "sim/reset")
        assert response.success, response.message
        # What was sent before the reset is out of the way once something stamped after it has come.
        after = self.graph.now_ns()
        for recorder in (self.poses, self.joints):
            recorder.wait(lambda msg: time_from_msg(msg.header.stamp) > after)
        self.blocks.wait(
            lambda msg: len(msg.markers) > 1 and time_from_msg(msg.markers[0].header.stamp) > after
        )
        return response.message

    @property
    def pose(self):
        return pose_from_msg(self.poses.last.pose)

    def state(self):
        fingers = dict(zip(self.joints.last.name, self.joints.last.position, strict=True))
        blocks = {marker.ns: pose_from_msg(marker.pose) for marker in self.blocks.last.markers}
        return TableState(0.0, self.pose, fingers["left_finger"] / 0.037, blocks)

    def send(self, pose, frame="base_link"):
        self.target.publish(pose_stamped(pose, self.graph.now_ns(), frame))

    def drive(self, start, translation, rotation=(0.0, 0.0, 0.0), seconds=PERIOD_S):
        """Lead the target along a motion at the control rate; return where it ends."""
        ticks, begin = round(seconds / TICK_S), time.monotonic()
        for tick in range(1, ticks + 1):
            share = tick / ticks
            self.send(start.moved(np.multiply(translation, share), np.multiply(rotation, share)))
            threading.Event().wait(max(begin + tick * TICK_S - time.monotonic(), 0.0))
        return start.moved(translation, rotation)

    def settle(self):
        """Wait until the arm stands still and return its pose."""
        start = len(self.poses)

        def still():
            recent = [pose_from_msg(msg.pose).position for msg in self.poses.messages[start:]][-25:]
            return len(recent) == 25 and np.ptp(recent, axis=0).max() < 2e-4

        self.graph.wait(still, what="the arm to stand still")
        return self.pose


@pytest.fixture(scope="module")
def sim(module_graph):
    return module_graph.start(MODULE, parameter_files=[CONFIG], parameters=SIZE)


@pytest.fixture(scope="module")
def shared_arm(module_graph, sim):
    arm = Arm(module_graph)
    arm.poses.wait(start=0)
    module_graph.wait_matched(arm.target, arm.gripper)
    return arm


@pytest.fixture
def arm(shared_arm):
    shared_arm.reset()
    return shared_arm


def test_both_cameras_publish_images_that_belong_together(module_graph, arm):
    images = {
        name: module_graph.record(Image, f"{name}/image_raw", BEST_EFFORT)
        for name in ("third_person", "wrist")
    }
    module_graph.wait(lambda: all(len(recorder) >= 30 for recorder in images.values()))
    for recorder in images.values():
        message = recorder.last
        assert (message.encoding, message.height, message.width, message.step) == ("rgb8", 96, 128, 384)
        assert decode(message, recorder.topic).std() > 10.0
        assert abs(module_graph.now_ns() - time_from_msg(message.header.stamp)) < 1_000_000_000
        stamps = np.array([time_from_msg(m.header.stamp) for m in recorder.messages]) / 1e9
        rate = (len(stamps) - 1) / (stamps[-1] - stamps[0])
        assert 9.0 < rate < 16.0, "15 images per second are configured; a busy machine loses some"
    common = {time_from_msg(m.header.stamp) for m in images["wrist"].messages}
    assert len(common & {time_from_msg(m.header.stamp) for m in images["third_person"].messages}) > 20


def test_compressed_images_show_the_same(module_graph, arm):
    raw = module_graph.record(Image, "wrist/image_raw", BEST_EFFORT)
    compressed = module_graph.record(CompressedImage, "wrist/image_raw/compressed", BEST_EFFORT)

    def pairs():
        by_stamp = {time_from_msg(m.header.stamp): m for m in raw.messages}
        return [
            (by_stamp[time_from_msg(m.header.stamp)], m)
            for m in compressed.messages
            if time_from_msg(m.header.stamp) in by_stamp
        ]

    module_graph.wait(pairs)
    one, other = pairs()[0]
    difference = decode(one, "raw").astype(float) - decode(other, "compressed").astype(float)
    assert np.abs(difference).mean() < 4.0


def test_camera_info_has_the_pinhole_matrix(module_graph, arm):
    info = module_graph.record(CameraInfo, "third_person/camera_info", BEST_EFFORT).wait()
    assert info.header.frame_id == "third_person_optical_frame"
    focal = 48.0 / np.tan(np.radians(19.0))
    assert np.allclose(np.reshape(info.k, (3, 3)), [[focal, 0, 63.5], [0, focal, 47.5], [0, 0, 1]])
    assert np.allclose(np.reshape(info.p, (3, 4))[:, :3], np.reshape(info.k, (3, 3)))


def test_state_comes_at_50_hz_and_agrees_with_the_robot_description(module_graph, arm):
    start = len(arm.poses)
    begin = time.monotonic()
    module_graph.wait(lambda: len(arm.poses) >= start + 100)
    assert (len(arm.poses) - start) / (time.monotonic() - begin) > 35.0
    urdf = module_graph.record(String, "robot_description", LATCHED).wait(start=0)
    kinematics = ForwardKinematics.from_urdf(urdf.data, "base_link", "ee_link")
    arm.drive(arm.pose, [0.02, 0.05, -0.02], [0.0, 0.0, 0.2])
    poses = {time_from_msg(msg.header.stamp): msg for msg in arm.poses.messages[start:]}
    joints = [msg for msg in arm.joints.messages if time_from_msg(msg.header.stamp) in poses]
    assert len(joints) > 50
    for msg in joints:
        pose = poses[time_from_msg(msg.header.stamp)]
        assert pose.header.frame_id == "base_link"
        forward = kinematics.pose(dict(zip(msg.name, msg.position, strict=True)))
        measured = pose_from_msg(pose.pose)
        assert np.allclose(forward.position, measured.position, atol=1e-6)
        assert angle_between(forward.quaternion, measured.quaternion) < 1e-5


def test_blocks_are_cubes_named_by_colour(arm):
    markers = arm.blocks.last.markers
    assert {marker.ns for marker in markers} == {"red", "green", "blue", "yellow"}
    for marker in markers:
        assert marker.type == Marker.CUBE
        assert marker.header.frame_id == "base_link"
        assert marker.scale.x == pytest.approx(0.04)
        assert marker.pose.position.z == pytest.approx(0.02, abs=1e-3)


def test_the_arm_follows_targets_and_the_gripper_its_command(module_graph, arm):
    start = arm.settle()
    arm.gripper.publish(Float64MultiArray(data=[0.0]))
    target = arm.drive(start, [0.02, -0.06, -0.04], [0.0, 0.0, 0.3], seconds=0.8)
    reached = arm.settle()
    assert np.allclose(reached.position, target.position, atol=2e-3)
    assert angle_between(reached.quaternion, target.quaternion) < 0.02
    assert arm.state().gripper == pytest.approx(0.0, abs=0.02)
    arm.gripper.publish(Float64MultiArray(data=[1.0]))
    module_graph.wait(lambda: arm.state().gripper > 0.98, what="the gripper to open")


def test_when_targets_stop_the_arm_holds_and_says_so(module_graph, arm, sim):
    seen = sim.log().count("no target on")
    start = arm.settle()
    # A jump ahead that the arm would keep following for a while.
    arm.send(start.moved([0.0, 0.1, 0.0], [0.0, 0.0, 0.0]))
    module_graph.wait(lambda: sim.log().count("no target on") > seen, what="the cause in the log")
    held = arm.settle()
    arm.graph.wait(lambda: np.allclose(arm.settle().position, held.position, atol=1e-4))


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda msg: setattr(msg.pose.position, "x", float("nan")), "bad target"),
        (lambda msg: setattr(msg.pose.orientation, "w", float("inf")), "bad target"),
        (lambda msg: setattr(msg.header, "frame_id", "camera"), "frame_id is 'camera'"),
        (lambda msg: setattr(msg.pose.position, "y", 5.0), "from the end effector"),
    ],
    ids=["nan", "inf", "frame", "too far"],
)
def test_a_bad_target_makes_the_arm_hold_and_a_good_one_go_on(
    domain_id, module_graph, arm, sim, spoil, cause
):
    start = arm.settle()
    log = len(sim.log())
    message = pose_stamped(start.moved([0.0, 0.05, 0.0], [0.0, 0.0, 0.0]), module_graph.now_ns(), "base_link")
    spoil(message)

    def told():
        # Sent again and again: the node keeps quiet about a cause for some seconds after telling one.
        arm.target.publish(message)
        return cause in sim.log()[log:]

    module_graph.wait(told, what="the cause in the log")
    assert np.allclose(arm.settle().position, start.position, atol=1e-3)
    assert sim.running
    target = arm.drive(start, [0.0, 0.03, 0.0])
    assert np.allclose(arm.settle().position, target.position, atol=2e-3)


@pytest.mark.parametrize("data", [[], [float("nan")], [0.0, 1.0]])
def test_a_bad_gripper_command_is_refused(module_graph, arm, sim, data):
    before = arm.state().gripper
    count = sim.log().count("is not one finite opening")

    def told():
        arm.gripper.publish(Float64MultiArray(data=data))
        return sim.log().count("is not one finite opening") > count

    module_graph.wait(told, what="the refusal in the log")
    assert arm.state().gripper == pytest.approx(before, abs=1e-3)


def test_a_reset_lays_out_the_task_and_seed_of_the_parameters(module_graph, arm):
    assert arm.reset("push the green block to the left", 7) == (
        "reset to 'push the green block to the left', seed 7"
    )
    first = arm.state()
    module_graph.wait(lambda: arm.task.last.data == "push the green block to the left")
    arm.drive(first.end_effector, [0.02, 0.0, 0.0])
    arm.reset("push the green block to the left", 7)
    again = arm.state()
    assert np.allclose(first.end_effector.position, again.end_effector.position, atol=1e-3)
    for colour in first.blocks:
        assert np.allclose(first.blocks[colour].position, again.blocks[colour].position, atol=1e-3)
    arm.reset("push the green block to the left", 8)
    assert not np.allclose(arm.state().blocks["green"].position, first.blocks["green"].position, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (
            "task",
            ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="dance"),
            "no task is known",
        ),
        ("seed", ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=-1), "seed"),
        ("num_blocks", ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=3), "read"),
    ],
)
def test_wrong_parameters_are_refused_with_the_reason(module_graph, arm, name, value, reason):
    request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
    (result,) = module_graph.call(SetParameters, "sim/set_parameters", request).results
    assert not result.successful
    assert reason in result.reason


def test_success_is_told_when_the_task_is_done(module_graph, arm):
    task = task_from_instruction("pick up the blue block")
    arm.reset(task.instruction, 3)
    assert not arm.success.last.data
    start = arm.state()
    target = start.end_effector
    for _ in range(40):
        chunk = plan(task.goal, start, arm.state(), steps=1)
        arm.gripper.publish(Float64MultiArray(data=[float(chunk.gripper[0])]))
        target = arm.drive(target, chunk.translation[0], chunk.rotation[0])
        if arm.success.last.data:
            break
    assert arm.success.last.data
    arm.reset(task.instruction, 3)
    module_graph.wait(lambda: not arm.success.last.data)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"task": "dance"}, "no task is known for 'dance'"),
        ({"num_blocks": 9}, "num_blocks"),
        ({"image_width": 2}, "image_width"),
        ({"target_timeout": "nan"}, "target_timeout"),
    ],
)
def test_it_does_not_start_with_wrong_parameters(graph, parameters, message):
    process = graph.start(MODULE, parameter_files=[CONFIG], parameters=parameters)
    assert process.wait() == 2
    assert message in process.log()


def test_it_ends_on_a_signal_without_complaint(graph):
    process = graph.start(MODULE, parameter_files=[CONFIG], parameters={**SIZE, "num_blocks": 5})
    graph.record(PoseStamped, "ee_pose").wait(start=0)
    assert process.stop(signal.SIGTERM) == 0
    assert "Traceback" not in process.log()
