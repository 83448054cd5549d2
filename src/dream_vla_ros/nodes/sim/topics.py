"""The simulated arm's state, blocks and success on their topics."""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, ColorRGBA, Header, String
from visualization_msgs.msg import Marker, MarkerArray

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.conversions import pose_stamped, pose_to_msg, time_to_msg, vector_to_msg
from dream_vla_ros.sim.appearance import COLOURS
from dream_vla_ros.sim.scene import BLOCK_SIZE_M
from dream_vla_ros.sim.simulation import TabletopSim
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.urdf import robot_description

BLOCKS_TOPIC = "blocks"
_DEPTH = 10
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class SimTopics:
    """Publishes everything but images.

    :param node: Node that publishes.
    :param embodiment: Names topics and frames.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self._base = embodiment.frames.base
        state = embodiment.state
        self._pose = node.create_publisher(PoseStamped, state.pose_topic, _DEPTH)
        self._joints = node.create_publisher(JointState, state.joint_states_topic, _DEPTH)
        self._blocks = node.create_publisher(MarkerArray, BLOCKS_TOPIC, _DEPTH)
        self._success = node.create_publisher(Bool, "~/success", _LATCHED)
        self._instruction = node.create_publisher(String, "~/task", _LATCHED)
        self._description = node.create_publisher(String, state.robot_description_topic, _LATCHED)
        self._description.publish(String(data=robot_description()))
        self._last_success: bool | None = None

    def publish_arm(self, sim: TabletopSim, stamp_ns: int) -> None:
        """Publish end-effector pose and joints."""
        self._pose.publish(pose_stamped(sim.ee_pose(), stamp_ns, self._base))
        positions = sim.joint_positions()
        msg = JointState(header=Header(stamp=time_to_msg(stamp_ns)))
        msg.name = list(positions)
        msg.position = list(positions.values())
        msg.velocity = list(sim.joint_velocities().values())
        self._joints.publish(msg)

    def publish_blocks(self, state: TableState, stamp_ns: int) -> None:
        """Publish each block as a cube whose namespace is its colour."""
        header = Header(stamp=time_to_msg(stamp_ns), frame_id=self._base)
        markers = []
        for colour, pose in state.blocks.items():
            marker = Marker(header=header, ns=colour, type=Marker.CUBE, action=Marker.ADD)
            marker.pose = pose_to_msg(pose)
            marker.scale = vector_to_msg([BLOCK_SIZE_M] * 3)
            red, green, blue = COLOURS[colour]
            marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
            markers.append(marker)
        self._blocks.publish(MarkerArray(markers=markers))

    def clear_blocks(self) -> None:
        """Take all blocks off displays, before others are laid out."""
        self._blocks.publish(MarkerArray(markers=[Marker(action=Marker.DELETEALL)]))

    def publish_task(self, instruction: str) -> None:
        """Publish the task that success is judged by, for those who come later too."""
        self._instruction.publish(String(data=instruction))

    def publish_success(self, success: bool) -> None:
        """Publish whether the task is done, when that changes."""
        if success != self._last_success:
            self._success.publish(Bool(data=success))
            self._last_success = success
