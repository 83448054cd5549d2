"""The policy node with the scripted expert in place of a model: it sees the blocks instead of images.

Everything else - goals, chunks, outcomes - is the policy node's own, so controller and clients notice no
difference. It is for the simulation only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from visualization_msgs.msg import Marker, MarkerArray

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.camera_source import CameraStatistics
from dream_vla_ros.nodes.conversions import pose_from_msg, time_from_msg
from dream_vla_ros.nodes.policy.base import PolicyNodeBase
from dream_vla_ros.nodes.policy.inputs import fresh_state
from dream_vla_ros.nodes.policy.main import run_policy_node
from dream_vla_ros.nodes.sim.topics import BLOCKS_TOPIC
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.frames import MissingInputError
from dream_vla_ros.policy.policy import PolicyError, PolicyResult
from dream_vla_ros.sim.expert import PERIOD_S, plan
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import UnknownInstructionError, task_from_instruction

_BLOCKS_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass(frozen=True)
class Scene:
    """What the expert sees.

    :param oldest_stamp_ns: When the older of arm and blocks was measured, ROS time.
    :param table: The tabletop then.
    :param instruction: What to do, in words.
    """

    oldest_stamp_ns: int
    table: TableState
    instruction: str

    @property
    def end_effector(self) -> Pose:
        """Measured pose in the base frame."""
        return self.table.end_effector

    @property
    def gripper(self) -> float:
        """Measured opening, 1 = open, 0 = closed."""
        return self.table.gripper


class SceneObserver:
    """Gathers the arm's state and the blocks' poses.

    :param node: Node that subscribes.
    :param embodiment: Names frames and limits.
    :param states: The arm's state.
    :param on_input: Called from the executor when the blocks came.
    """

    def __init__(
        self, node: Node, embodiment: Embodiment, states: StateSource, on_input: Callable[[], None]
    ) -> None:
        self._node = node
        self._embodiment = embodiment
        self._states = states
        self._on_input = on_input
        self._lock = threading.Lock()
        self._blocks: dict[str, Pose] = {}
        self._stamp_ns = 0
        self._received_s = 0.0
        self._problem = ""
        self._subscription = node.create_subscription(MarkerArray, BLOCKS_TOPIC, self._on_blocks, _BLOCKS_QOS)

    def observe(self, instruction: str, newer_than_ns: int) -> Scene:
        """Return arm and blocks as they are.

        :raises MissingInputError: Naming what is missing or too old.
        """
        state = fresh_state(self._states, self._embodiment, self._node)
        topic = self._subscription.topic_name
        if state.gripper is None:
            raise MissingInputError(
                f"no finger positions on '{self._embodiment.state.joint_states_topic}' "
                f"(parameter state.finger_joints)"
            )
        with self._lock:
            blocks, stamp_ns, problem = dict(self._blocks), self._stamp_ns, self._problem
            silence_s = time.monotonic() - self._received_s
        if not blocks:
            raise MissingInputError(problem or f"no blocks on '{topic}'; the expert works in simulation only")
        age_s = max(silence_s, (self._node.get_clock().now().nanoseconds - stamp_ns) * 1e-9)
        if age_s > self._embodiment.timing.image_max_age:
            raise MissingInputError(
                f"blocks on '{topic}' are {age_s:.2f} s old, more than timing.image_max_age "
                f"{self._embodiment.timing.image_max_age:g} s {problem}".rstrip()
            )
        oldest_ns = min(stamp_ns, state.stamp_ns)
        if oldest_ns <= newer_than_ns:
            raise MissingInputError(f"no new blocks on '{topic}' or no new state since the last prediction")
        table = TableState(stamp_ns * 1e-9, state.pose, state.gripper, blocks)
        return Scene(oldest_ns, table, instruction)

    def camera_statistics(self) -> list[CameraStatistics]:
        """Return nothing: the expert looks at no camera."""
        return []

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _on_blocks(self, message: MarkerArray) -> None:
        base = self._embodiment.frames.base
        blocks: dict[str, Pose] = {}
        stamp_ns, problem = 0, ""
        for marker in message.markers:
            if marker.action != Marker.ADD:
                continue
            if marker.header.frame_id != base:
                problem = f"block '{marker.ns}' is given in '{marker.header.frame_id}', not in '{base}'"
                break
            try:
                blocks[marker.ns] = pose_from_msg(marker.pose)
            except ValueError as error:
                problem = f"block '{marker.ns}': {error}"
                break
            stamp_ns = time_from_msg(marker.header.stamp)
        with self._lock:
            self._problem = problem
            if problem:
                return
            self._blocks, self._stamp_ns, self._received_s = blocks, stamp_ns, time.monotonic()
        self._on_input()


class ExpertPolicy:
    """Plans with the scripted expert.

    :param embodiment: Its action space must be the expert's own.
    :raises PolicyError: If it is not.
    """

    name = "expert"
    objective = "scripted"
    notes = ("the scripted expert sees where the blocks are; no model and no image is involved",)

    def __init__(self, embodiment: Embodiment) -> None:
        action = embodiment.action
        if abs(action.period_s - PERIOD_S) > 1e-9:
            raise PolicyError(
                f"parameter 'action.rate' is {action.rate:g} Hz, but the expert plans at {1 / PERIOD_S:g} Hz"
            )
        self._steps = action.chunk_size
        self._start: TableState | None = None

    def infer(self, observation: Scene) -> PolicyResult:
        """Plan the next chunk.

        :raises UnknownInstructionError: If the words ask for no task.
        :raises PolicyError: If a block of the task is not on the table.
        """
        goal = task_from_instruction(observation.instruction).goal
        missing = [colour for colour in goal.blocks if colour not in observation.table.blocks]
        if missing:
            raise PolicyError(
                f"there is no {' and no '.join(missing)} block; on the table are "
                f"{', '.join(sorted(observation.table.blocks))}"
            )
        if self._start is None:
            self._start = observation.table
        chunk = plan(goal, self._start, observation.table, self._steps)
        return PolicyResult(Motion(chunk.translation, chunk.rotation, chunk.gripper), PERIOD_S)

    def reset(self) -> None:
        """Forget how the table was when the former goal began."""
        self._start = None

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class ExpertNode(PolicyNodeBase):
    """Carries out language instructions with the scripted expert."""

    def load_policy(self) -> ExpertPolicy:
        """Make the expert.

        :raises PolicyError: If the robot's action space is not the expert's.
        """
        return ExpertPolicy(self.embodiment)

    def warm_up_observation(self) -> Scene:
        """Return a made-up table."""
        block = Pose(np.array([0.3, 0.0, 0.02]), np.array([0.0, 0.0, 0.0, 1.0]))
        arm = Pose(np.array([0.3, 0.0, 0.2]), np.array([0.0, 0.7071, 0.0, 0.7071]))
        return Scene(0, TableState(0.0, arm, 1.0, {"red": block}), "pick up the red block")

    def make_observer(self, states: StateSource, on_input: Callable[[], None]) -> SceneObserver:
        """Subscribe to the blocks."""
        return SceneObserver(self, self.embodiment, states, on_input)

    def refuse(self, instruction: str) -> str:
        """Say why the expert cannot do what is asked."""
        try:
            task_from_instruction(instruction)
        except UnknownInstructionError as error:
            return str(error)
        return ""


def main(args: Sequence[str] | None = None) -> int:
    """Run the expert as policy node until SIGINT or SIGTERM.

    :returns: Exit code: 0 when told to end, 2 for wrong parameters.
    """
    return run_policy_node(ExpertNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
