"""The fast way of recording the expert against the graph, message by message.

The graph's nodes run in lockstep here: the test gives the clock, and goes on only when everyone has heard
what was said. What they say, and what the recorder's node writes, is their own.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from ros_graph import LATCHED, Graph
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_msgs.msg import ActiveGoal
from dream_vla_ros.chunk import ActionChunk
from dream_vla_ros.data.bag_writer import BagWriter
from dream_vla_ros.data.episode_metadata import EpisodeMetadata
from dream_vla_ros.data.recorded_topics import recorded_topics
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes import state_source
from dream_vla_ros.nodes.controller import node as controller_node
from dream_vla_ros.nodes.controller.node import ControllerNode
from dream_vla_ros.nodes.conversions import chunk_to_msg, time_to_msg, uuid_to_msg
from dream_vla_ros.nodes.policy import expert_node as expert_node
from dream_vla_ros.nodes.policy import inputs as policy_inputs
from dream_vla_ros.nodes.policy.expert_node import ExpertPolicy, SceneObserver
from dream_vla_ros.nodes.recorder.node import RecorderNode
from dream_vla_ros.nodes.recorder.topics import message_class
from dream_vla_ros.nodes.sim.cameras import SimCameras
from dream_vla_ros.nodes.sim.demonstration import BLOCKS_EVERY, EPOCH_NS, Demonstrator
from dream_vla_ros.nodes.sim.tape import Tape
from dream_vla_ros.nodes.sim.targets import SimTargets
from dream_vla_ros.nodes.sim.topics import SimTopics
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.sim.simulation import CONTROL_PERIOD_S, TabletopSim
from dream_vla_ros.sim.tasks import task_from_instruction

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).parents[2] / "config" / "tabletop.yaml"
TASK, SEED, SIZE = "pick up the red block", 3, (48, 64)
# Two plans, and everything that comes less often than once a tick.
TICKS = 50
PERIOD_NS = round(CONTROL_PERIOD_S * 1e9)
# Said once, before anybody listens, and so brought in the order of discovery.
LATCHED_TOPICS = ("/robot_description",)


def record_fast(folder: Path, robot: Embodiment) -> tuple[Path, list[dict[str, int]]]:
    """Record the beginning of an episode without a graph; return the bag and what it held at each tick."""
    tape = Tape("sim", [topic.name for topic in recorded_topics(robot)])
    demonstrator = Demonstrator(robot, TabletopSim(image_size=SIZE), tape)
    counts = []
    with BagWriter(folder, EpisodeMetadata(task=TASK)) as writer:
        tape.record(writer)
        demonstrator.begin(task_from_instruction(TASK), SEED, EPOCH_NS)
        for _ in range(TICKS):
            demonstrator.step()
            counts.append(dict(writer.status().written))
        writer.close(True)
    return folder, counts


def read(path: Path) -> dict[str, list[object]]:
    """Return a bag's messages by topic."""
    found: dict[str, list[object]] = {}
    with AnyReader([path]) as reader:
        for connection, _, data in reader.messages():
            # Readers that know nothing of ROS must be able to read it, too.
            reader.deserialize(data, connection.msgtype)
            message = deserialize_message(bytes(data), message_class(connection.msgtype))
            found.setdefault(connection.topic, []).append(message)
    return found


class Lockstep:
    """Simulation, expert, controller and recorder of the graph, one tick at a time."""

    def __init__(self, graph: Graph, robot: Embodiment, folder: Path, goal_id: bytes) -> None:
        self.graph, self.robot, self.goal_id = graph, robot, goal_id
        overrides = [
            Parameter(name, value=value) for name, value in robot.to_parameters().items() if value != []
        ]
        common = {
            "context": graph.context,
            "namespace": graph.namespace,
            "parameter_overrides": [*overrides, Parameter("use_sim_time", value=True)],
        }
        self.controller = ControllerNode(**common)
        common["parameter_overrides"] = [
            *common["parameter_overrides"],
            Parameter("folder", value=str(folder)),
        ]
        self.recorder = RecorderNode(**common)
        node = graph.node
        node.set_parameters([Parameter("use_sim_time", value=True)])
        self.clock = graph.publisher(Clock, "/clock")
        self.sim = TabletopSim(image_size=SIZE)
        self.targets = SimTargets(node, robot, timeout_s=1e9)
        self.topics, self.cameras = SimTopics(node, robot), SimCameras(node, robot, 90)
        self.states = StateSource(node, robot)
        self.scene = SceneObserver(node, robot, self.states, lambda: None)
        self.goals = graph.publisher(ActiveGoal, "active_goal", LATCHED)
        self.chunks = graph.publisher(ActionChunkMsg, "action_chunk")
        self.policy = ExpertPolicy(robot)
        self.nodes = [self.controller, self.recorder]
        for one in self.nodes:
            graph._executor.add_node(one)

    def close(self) -> None:
        for one in self.nodes:
            self.graph._executor.remove_node(one)
        self.recorder.end()
        for one in self.nodes:
            one.destroy_node()

    def set_clock(self, now_ns: int) -> None:
        self.clock.publish(Clock(clock=time_to_msg(now_ns)))
        nodes = [self.graph.node, *self.nodes]
        self.graph.wait(
            lambda: all(node.get_clock().now().nanoseconds == now_ns for node in nodes), what="the clock"
        )


def test_the_graph_records_the_same(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    robot = Embodiment.from_file(CONFIG)
    fast_path, counts = record_fast(tmp_path / "fast", robot)
    fast = read(fast_path)
    goal_id = bytes(np.asarray(fast["/active_goal"][0].goal_id.uuid, dtype=np.uint8))
    # Rates of reports and ages of inputs count on the steady clock; here it goes with the simulation.
    steady = SimpleNamespace(ns=0)
    clock = SimpleNamespace(
        monotonic_ns=lambda: steady.ns, monotonic=lambda: steady.ns * 1e-9, sleep=time.sleep
    )
    for module in (controller_node, state_source, expert_node, policy_inputs):
        monkeypatch.setattr(module, "time", clock)
    steps = Lockstep(graph, robot, tmp_path / "graph", goal_id)
    try:
        path = run(steps, counts, steady)
    finally:
        steps.close()
    slow = {name.removeprefix(graph.namespace): messages for name, messages in read(path).items()}
    assert set(slow) == set(fast)
    for topic, messages in fast.items():
        assert len(slow[topic]) == len(messages), topic
        for number, (one, other) in enumerate(zip(slow[topic], messages, strict=True)):
            # Written out, numbers that are none are alike too.
            assert one == other or repr(one) == repr(other), f"{topic}, message {number}"
    assert len(fast["/action_chunk"]) == 2
    assert len(fast["/wrist/image_raw"]) >= 12
    assert len(fast["/end_effector_delta"]) == TICKS


def run(steps: Lockstep, counts: list[dict[str, int]], steady: SimpleNamespace) -> Path:
    """Run the ticks on the graph, each until the recorder has as much as the fast way had; return the bag."""
    graph, sim, robot = steps.graph, steps.sim, steps.robot
    task = task_from_instruction(TASK)
    rng = np.random.default_rng(SEED)
    start = sim.reset(task.draw_layout(sim.num_blocks, rng), rng)
    period_s = 1.0 / robot.timing.camera_rate
    next_camera_s, chunk_id = 0.0, 0
    graph.wait_matched(steps.clock, count=3)
    graph.wait_matched(steps.goals, steps.chunks)
    steps.set_clock(EPOCH_NS - PERIOD_NS)
    adapter = next(one for one in steps.controller._adapters if hasattr(one, "problem"))
    graph.wait(lambda: adapter.problem() == "", what="the sole publisher to know that it is")
    topics = {
        source.full_name.removeprefix(graph.namespace): source for source in steps.recorder._topics.sources
    }
    graph.wait(
        lambda: all(topics[name].subscription is not None for name in counts[-1]),
        what="the recorder's subscriptions",
    )
    graph.wait(lambda: topics["/robot_description"].received == 1, what="the robot description")
    path = steps.recorder.recorder.start(TASK, "test", EPOCH_NS)
    for source, data in steps.recorder._topics.latched():
        steps.recorder.recorder.write(source.stored, data, EPOCH_NS)
    for tick in range(TICKS):
        now_ns = EPOCH_NS + tick * PERIOD_NS
        steady.ns = now_ns
        steps.set_clock(now_ns)
        if tick:
            follow(steps, counts, tick)
        sim.step()
        steps.topics.publish_arm(sim, now_ns)
        if tick % BLOCKS_EVERY == 0:
            steps.topics.publish_blocks(sim.state(), now_ns)
            steps.topics.publish_success(task.goal.reached(start, sim.state()))
        if sim.time_s >= next_camera_s:
            steps.cameras.publish(sim, now_ns)
            next_camera_s = max(next_camera_s + period_s, sim.time_s)
        for states in (steps.states, steps.controller._state_source):
            graph.wait(lambda s=states, ns=now_ns: is_of(s, ns), what="the state")
        if tick % BLOCKS_EVERY == 0:
            message = ActiveGoal(active=True, goal_id=uuid_to_msg(steps.goal_id), instruction=TASK)
            message.header.stamp = time_to_msg(now_ns)
            steps.goals.publish(message)
            graph.wait(lambda: steps.controller._controller.goal_id == steps.goal_id, what="the goal")
            graph.wait(lambda ns=now_ns: steps.scene._stamp_ns == ns, what="the blocks")
        if tick % 40 == 1:
            chunk_id += 1
            publish_plan(steps, chunk_id, now_ns)
        steps.controller._tick()
        graph.wait(lambda t=tick: written(steps) == counts[t], what=f"tick {tick}, {counts[tick]}")
    report = steps.recorder.recorder.stop(True, "", now_ns)
    assert not any(report.lost.values())
    return path


def follow(steps: Lockstep, counts: list[dict[str, int]], tick: int) -> None:
    """Let the simulation take what the controller sent in the tick before, once it came."""
    said = {
        name: counts[tick - 1].get(name, 0) - (counts[tick - 2].get(name, 0) if tick > 1 else 0)
        for name in ("/target_pose", "/gripper_command")
    }
    waiting = {"pose": said["/target_pose"] > 0, "gripper": said["/gripper_command"] > 0}

    def took() -> bool:
        targets = steps.targets.take()
        assert not targets.fault
        if targets.gripper is not None:
            steps.sim.set_gripper_target(targets.gripper)
            waiting["gripper"] = False
        if targets.pose is not None:
            steps.sim.set_pose_target(targets.pose)
            waiting["pose"] = False
        return not any(waiting.values())

    steps.graph.wait(took, what="the targets")


def written(steps: Lockstep) -> dict[str, int]:
    """Return how many messages of each topic the recorder has."""
    found = steps.recorder.recorder.status().written
    return {name.removeprefix(steps.graph.namespace): count for name, count in found.items()}


def is_of(states: StateSource, stamp_ns: int) -> bool:
    """Say whether the newest state, joints and all, is of a moment."""
    newest = states.latest()
    return newest is not None and newest.stamp_ns == newest.joints_stamp_ns == stamp_ns


def publish_plan(steps: Lockstep, chunk_id: int, now_ns: int) -> None:
    """Plan from what the expert's own inputs hold, and wait until the controller has the chunk."""
    seen = steps.scene.observe(TASK, 0)
    result = steps.policy.infer(seen)
    motion = result.motion
    chunk = ActionChunk(
        motion.translation, motion.rotation, motion.gripper, result.period_s,
        seen.oldest_stamp_ns, steps.goal_id, chunk_id,
    )  # fmt: skip
    steps.chunks.publish(
        chunk_to_msg(
            chunk,
            frame_id="base_link",
            instruction=TASK,
            latency_s=(now_ns - chunk.stamp_ns) * 1e-9,
            model="expert",
            objective="scripted",
        )
    )
    steps.graph.wait(
        lambda: steps.controller._controller.counters.chunks_accepted == chunk_id, what=f"chunk {chunk_id}"
    )
