"""An expert demonstration as the graph would have recorded it, without the graph and as fast as it goes.

Simulation, expert and controller are the ones of the nodes, and so are the messages; only time is simulated:
each control period the simulation steps and publishes, the expert plans when a new chunk is due, and the
controller decides one command, which the simulation follows in the next period.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from std_msgs.msg import Header

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_msgs.msg import ActiveGoal, ControllerState
from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.control import Command, Controller, ControlSettings
from dream_vla_ros.data.bag_writer import BagStorage, BagWriter
from dream_vla_ros.data.episode_metadata import EpisodeMetadata
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.adapters.delta import DeltaAdapter
from dream_vla_ros.nodes.adapters.gripper_messages import FloatArrayGripper
from dream_vla_ros.nodes.controller.messages import state_to_msg
from dream_vla_ros.nodes.conversions import (
    chunk_from_msg,
    chunk_to_msg,
    pose_from_msg,
    pose_stamped,
    pose_to_msg,
    time_to_msg,
    uuid_to_msg,
)
from dream_vla_ros.nodes.policy.expert_node import ExpertPolicy, Scene
from dream_vla_ros.nodes.sim.cameras import SimCameras
from dream_vla_ros.nodes.sim.tape import Tape
from dream_vla_ros.nodes.sim.topics import SimTopics
from dream_vla_ros.policy.settling import SettleDetector, SettleSettings
from dream_vla_ros.robot_state import RobotState, gripper_opening
from dream_vla_ros.sim.simulation import CONTROL_PERIOD_S, TabletopSim
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import Task

# Simulated time begins here: a date that no real recording has, the same for everybody.
EPOCH_NS = 1_600_000_000 * 10**9
# Episodes begin this far apart, so that no two bags overlap in time.
_APART_NS = 3600 * 10**9
# How often blocks are published and the goal is repeated, in control periods (0.1 s).
BLOCKS_EVERY = round(0.1 / CONTROL_PERIOD_S)
# Standing still recorded after the goal ended [s].
_TAIL_S = 0.4
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Demonstration:
    """One recorded episode.

    :param path: Its bag.
    :param success: Whether the task was done at the end.
    :param duration_s: Simulated time.
    """

    path: Path
    success: bool
    duration_s: float


class Demonstrator:
    """Lets the expert carry out tasks in simulated time.

    :param embodiment: The simulated tabletop's.
    :raises PolicyError: If its action space is not the expert's.
    """

    def __init__(self, embodiment: Embodiment, sim: TabletopSim, tape: Tape) -> None:
        self._embodiment = embodiment
        self._sim = sim
        self._tape = tape
        self._base = embodiment.frames.base
        self._topics = SimTopics(tape, embodiment)  # type: ignore[arg-type]
        self._cameras = SimCameras(tape, embodiment, _JPEG_QUALITY)  # type: ignore[arg-type]
        self._camera_period_s = 1.0 / min(embodiment.timing.camera_rate, 1.0 / CONTROL_PERIOD_S)
        self._goals = tape.create_publisher(ActiveGoal, "active_goal", 1)
        self._chunks = tape.create_publisher(ActionChunkMsg, "action_chunk", 1)
        self._states = tape.create_publisher(ControllerState, "controller_state", 10)
        self._target_poses = tape.create_publisher(
            type(pose_stamped(Pose.identity(), 0, "")), embodiment.output.target_pose_topic, 10
        )
        self._policy = ExpertPolicy(embodiment)
        self._plan_every = max(
            1, round(embodiment.action.chunk_size * embodiment.action.period_s / 2.0 / CONTROL_PERIOD_S)
        )

    def begin(self, task: Task, seed: int, start_ns: int) -> None:
        """Lay out the table for a task.

        :param start_ns: When the episode begins, ROS time.
        """
        rng = np.random.default_rng(seed)
        self._start = self._sim.reset(task.draw_layout(self._sim.num_blocks, rng), rng)
        self._task, self._start_ns = task, start_ns
        self._goal_id = hashlib.sha256(f"{task.instruction} {seed}".encode()).digest()[:16]
        self._controller = Controller(self._embodiment, ControlSettings())
        # The adapters remember what they said last, so each episode has its own.
        self._deltas = DeltaAdapter(self._tape, self._embodiment)  # type: ignore[arg-type]
        self._gripper = FloatArrayGripper(self._tape, self._embodiment)  # type: ignore[arg-type]
        self._policy.reset()
        self._settling = SettleDetector(SettleSettings())
        self._tick, self._chunk_id, self._next_camera_s = 0, 0, 0.0
        self._blocks: tuple[int, dict[str, Pose]] = (0, {})
        self._target: Command | None = None
        self._told: tuple[object, ...] = ()
        self._told_ns = 0
        self._topics.publish_task(task.instruction)

    @property
    def now_ns(self) -> int:
        """Time of the present control period, ROS time."""
        return self._start_ns + self._tick * round(CONTROL_PERIOD_S * 1e9)

    @property
    def settled(self) -> bool:
        """Whether the expert has asked for no motion for a while."""
        return self._settling.settled

    def reached(self) -> bool:
        """Say whether the task is done."""
        return bool(self._task.goal.reached(self._start, self._sim.state()))

    def step(self, *, active: bool = True) -> None:
        """Run one control period.

        :param active: Whether the goal may move the arm.
        """
        now_ns = self.now_ns
        self._tape.now_ns = now_ns
        self._follow()
        self._sim.step()
        state = self._publish_sim(now_ns)
        if self._tick % BLOCKS_EVERY == 0:
            self._publish_goal(active, now_ns)
        # Not at once: the controller takes chunks only when it has a measured state.
        if active and self._tick % self._plan_every == 1:
            self._plan(state, now_ns)
        self._command(state, now_ns)
        self._tick += 1

    def _follow(self) -> None:
        command = self._target
        if command is None:
            return
        if command.gripper is not None:
            self._sim.set_gripper_target(command.gripper)
        if command.target is not None:
            self._sim.set_pose_target(_through_message(command.target))

    def _publish_sim(self, now_ns: int) -> RobotState:
        sim = self._sim
        self._topics.publish_arm(sim, now_ns)
        if self._tick % BLOCKS_EVERY == 0:
            table = sim.state()
            self._topics.publish_blocks(table, now_ns)
            self._topics.publish_success(self._task.goal.reached(self._start, table))
            self._blocks = (now_ns, {name: _through_message(pose) for name, pose in table.blocks.items()})
        if sim.time_s >= self._next_camera_s:
            self._cameras.publish(sim, now_ns)
            self._next_camera_s = max(self._next_camera_s + self._camera_period_s, sim.time_s)
        joints = {name: float(position) for name, position in sim.joint_positions().items()}
        opening = gripper_opening(joints, self._embodiment.state)
        return RobotState(now_ns, now_ns, _through_message(sim.ee_pose()), joints, now_ns, opening)

    def _publish_goal(self, active: bool, now_ns: int) -> None:
        message = ActiveGoal(header=Header(stamp=time_to_msg(now_ns)), active=active)
        if active:
            message.goal_id = uuid_to_msg(self._goal_id)
            message.instruction = self._task.instruction
        self._goals.publish(message)
        self._controller.heartbeat(active, self._goal_id if active else bytes(16), now_ns)

    def _plan(self, state: RobotState, now_ns: int) -> None:
        seen_ns, blocks = self._blocks
        assert state.gripper is not None
        table = TableState(seen_ns * 1e-9, state.pose, state.gripper, blocks)
        stamp_ns = min(seen_ns, state.stamp_ns)
        result = self._policy.infer(Scene(stamp_ns, table, self._task.instruction))
        self._settling.add(
            result.motion,
            result.period_s,
            now_ns * 1e-9,
            execute_s=self._plan_every * CONTROL_PERIOD_S,
            pose=state.pose,
            gripper=state.gripper,
        )
        self._chunk_id += 1
        motion = result.motion
        chunk = ActionChunk(
            motion.translation,
            motion.rotation,
            motion.gripper,
            result.period_s,
            stamp_ns,
            self._goal_id,
            self._chunk_id,
        )
        message = chunk_to_msg(
            chunk,
            frame_id=self._base,
            instruction=self._task.instruction,
            latency_s=(now_ns - stamp_ns) * 1e-9,
            model=self._policy.name,
            objective=self._policy.objective,
        )
        self._chunks.publish(message)
        self._controller.take_chunk(chunk_from_msg(message, self._base), now_ns)

    def _command(self, state: RobotState, now_ns: int) -> None:
        command = self._controller.tick(now_ns, now_ns, state)
        self._deltas.send(command)
        if command.send and command.target is not None:
            self._target_poses.publish(pose_stamped(command.target, command.stamp_ns, self._base))
            self._target = command
        self._gripper.send(command)
        telling = (command.mode, command.reason.cause, command.chunk_id)
        if telling != self._told or now_ns - self._told_ns >= 10**8:
            self._told_ns = now_ns
            self._states.publish(state_to_msg(command, self._base))
        self._told = telling


def record_demonstration(
    demonstrator: Demonstrator,
    tape: Tape,
    task: Task,
    seed: int,
    folder: Path,
    robot: tuple[str, str],
    storage: BagStorage = BagStorage.MCAP,
) -> Demonstration:
    """Record one episode, from the layout until the expert is done or its time is over.

    :param seed: Decides the layout and looks; also names the bag.
    :param folder: The bag is made in it.
    :param robot: Name of the robot and text of its parameter file.
    :raises BagWriteError: If it cannot be written.
    """
    start_ns = EPOCH_NS + seed * _APART_NS
    tape.now_ns = start_ns
    path = folder / f"expert_{seed:06d}"
    metadata = EpisodeMetadata(
        task=task.instruction, robot=robot[0], embodiment=robot[1], operator="scripted expert"
    )
    with BagWriter(path, metadata, storage=storage) as writer:
        tape.record(writer)
        demonstrator.begin(task, seed, start_ns)
        limit_ns = start_ns + round(task.time_limit_s * 1e9)
        while not demonstrator.settled and demonstrator.now_ns < limit_ns:
            demonstrator.step()
        for _ in range(round(_TAIL_S / CONTROL_PERIOD_S)):
            demonstrator.step(active=False)
        success = demonstrator.reached()
        writer.close(success, notes="" if demonstrator.settled else "the time limit passed")
    return Demonstration(path, success, (demonstrator.now_ns - start_ns) * 1e-9)


def _through_message(pose: Pose) -> Pose:
    """Return a pose as one gets it who receives it: with the quaternion normalised once more."""
    return pose_from_msg(pose_to_msg(pose))
