"""Where a robot's commands go: the adapter for the arm, the adapter for the gripper, and their names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dream_vla_ros.parameters import ParameterError, param


class Adapter(str, Enum):
    """How motion commands reach the robot's own driver."""

    DELTA = "delta"
    """Only ``EndEffectorDelta``; the robot's driver subscribes to it."""
    TARGET_POSE = "target_pose"
    """``PoseStamped`` target for a Cartesian controller that allows one publisher only (CRISP)."""
    SERVO_TWIST = "servo_twist"
    """MoveIt Servo, told velocities."""
    SERVO_POSE = "servo_pose"
    """MoveIt Servo, told target poses."""
    JOINT_GROUP = "joint_group"
    """Interbotix joint positions, by inverse kinematics on the driver's own robot description."""


class GripperAdapter(str, Enum):
    """How gripper commands reach the gripper's own driver."""

    NONE = "none"
    """Not at all, or within ``EndEffectorDelta``."""
    FLOAT_ARRAY = "float_array"
    """``Float64MultiArray`` (CRISP)."""
    GRIPPER_COMMAND = "gripper_command"
    """Action ``control_msgs/GripperCommand``."""
    PARALLEL_GRIPPER_COMMAND = "parallel_gripper_command"
    """Action ``control_msgs/ParallelGripperCommand``."""
    FRANKA = "franka"
    """Actions ``franka_msgs/Move`` to open and ``franka_msgs/Grasp`` to close."""
    INTERBOTIX = "interbotix"
    """Message ``interbotix_xs_msgs/JointSingleCommand``."""


class IndependentPose(str, Enum):
    """Where the joint_group adapter finds a pose that its own kinematics must agree with."""

    TF = "tf"
    POSE_TOPIC = "pose_topic"


@dataclass(frozen=True)
class Output:
    """Where commands go."""

    adapter: Adapter = param(Adapter.DELTA, "How motion reaches the robot's driver.")
    gripper: GripperAdapter = param(GripperAdapter.NONE, "How gripper commands reach the gripper's driver.")
    target_pose_topic: str = param("target_pose", "geometry_msgs/PoseStamped for the target_pose adapter.")
    servo_node: str = param(
        "servo_node", "MoveIt Servo's node, below which its topics and services are, for servo_*."
    )
    joint_group_topic: str = param(
        "commands/joint_group", "interbotix_xs_msgs/JointGroupCommand for the joint_group adapter."
    )
    joint_group: str = param("arm", "Joint group of the driver, for the joint_group adapter.")
    joint_names: tuple[str, ...] = param(
        (), "Joints of that group in the driver's order; empty takes the kinematic chain's."
    )
    joint_speed: float = param(
        1.5,
        "Largest speed of a joint with the joint_group adapter, beside the description's limits [rad/s].",
        minimum=0.01,
        maximum=10.0,
    )
    gripper_relax: bool = param(
        False,
        "Command 0 once the fingers are as far as they go, for interbotix grippers in pwm or current mode.",
    )
    independent_pose: IndependentPose = param(
        IndependentPose.TF, "What the kinematics of the joint_group adapter are checked against."
    )
    gripper_topic: str = param(
        "gripper_command",
        "Topic of float_array or interbotix; action of gripper_command and parallel_gripper_command; "
        "for franka the node with the actions move and grasp.",
    )
    gripper_joint: str = param(
        "gripper", "Joint that interbotix and parallel_gripper_command name in their commands."
    )
    gripper_open: float = param(
        1.0, "Command for an open gripper, in the driver's unit (1, m, rad or PWM; franka: width in m)."
    )
    gripper_closed: float = param(0.0, "Command for a closed gripper, in the driver's unit.")
    gripper_speed: float = param(
        0.1, "Speed of the fingers, where the action takes one [m/s].", minimum=0.001, maximum=1.0
    )
    gripper_force: float = param(
        20.0, "Force of the grasp, where the action takes one [N].", minimum=0.0, maximum=140.0
    )

    def __post_init__(self) -> None:
        if self.gripper_open == self.gripper_closed:
            raise ParameterError(
                f"output.gripper_open and output.gripper_closed are both {self.gripper_open}"
            )
        if len(set(self.joint_names)) != len(self.joint_names):
            raise ParameterError(f"output.joint_names names a joint twice: {', '.join(self.joint_names)}")
