"""Faults inside the controller's process: each becomes a hold with its cause, and none ends the loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from controller_rig import CENTRE, CONFIG, motion_of
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from ros_graph import LATCHED, Graph

from dream_vla_msgs.msg import ActionChunk as ActionChunkMsg
from dream_vla_msgs.msg import ActiveGoal, ControllerState, EndEffectorDelta
from dream_vla_ros.control.tally import LAYERS
from dream_vla_ros.nodes.adapters import AdapterError
from dream_vla_ros.nodes.controller import node as controller_node
from dream_vla_ros.nodes.controller.node import ControllerNode
from dream_vla_ros.nodes.conversions import pose_stamped, uuid_to_msg

pytestmark = pytest.mark.ros

GOAL = bytes([7]) * 16


class Driver:
    """An adapter whose driver can go away."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.commands = 0
        self.closed = False

    def send(self, command: object) -> None:
        self.commands += 1
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed = True


class Bench:
    """A controller node in this process, with an arm that stands and a policy that beats."""

    def __init__(self, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
        self.driver = Driver()
        make = controller_node.make_adapters
        monkeypatch.setattr(controller_node, "make_adapters", lambda *a: [*make(*a), self.driver])
        self.graph = graph
        self.node = ControllerNode(
            context=graph.context,
            namespace=graph.namespace,
            cli_args=["--ros-args", "--params-file", str(CONFIG)],
            use_global_arguments=False,
        )
        self.states = graph.record(ControllerState, "controller_state")
        self.deltas = graph.record(EndEffectorDelta, "end_effector_delta")
        self.chunks = graph.publisher(ActionChunkMsg, "action_chunk")
        self._poses = graph.publisher(PoseStamped, "ee_pose")
        self._goals = graph.publisher(ActiveGoal, "active_goal", LATCHED)
        self._executor = SingleThreadedExecutor(context=graph.context)
        self._executor.add_node(self.node)
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._spin, daemon=True),
            threading.Thread(target=self._beat, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self.node.start()
        graph.wait_matched(self.chunks)

    def _spin(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def _beat(self) -> None:
        while not self._ending.wait(0.05):
            self._poses.publish(pose_stamped(CENTRE, self.graph.now_ns(), "base_link"))
            self._goals.publish(ActiveGoal(active=True, goal_id=uuid_to_msg(GOAL)))

    def wait(self, mode: int, cause: int) -> ControllerState:
        return self.states.wait(
            lambda s: (s.mode, s.cause) == (mode, cause), start=0, what=f"mode {mode}, cause {cause}"
        )

    def close(self) -> None:
        self.node.end()
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._executor.shutdown()
        self.node.destroy_node()


@pytest.fixture
def bench(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(graph, monkeypatch)
    made.wait(ControllerState.HOLDING, ControllerState.CAUSE_WAITING_FOR_CHUNK)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AdapterError("the driver on /servo_node is gone"), "Driver: the driver on /servo_node is gone"),
        (ZeroDivisionError("oops"), "adapter Driver failed"),
    ],
)
def test_a_failing_adapter_holds_and_others_go_on(bench: Bench, error: Exception, words: str):
    bench.driver.error = error
    state = bench.states.wait(lambda s: words in s.message, start=0, what=f"a state that says '{words}'")
    assert (state.mode, state.cause) == (ControllerState.HOLDING, ControllerState.CAUSE_ADAPTER)
    count, deltas = bench.driver.commands, len(bench.deltas)
    bench.graph.wait(lambda: bench.driver.commands > count + 5 and len(bench.deltas) > deltas + 5)
    assert not any(motion_of(d).any() for d in bench.deltas.messages)


def test_an_exception_of_the_control_loop_holds_and_the_loop_goes_on(bench: Bench, monkeypatch):
    failed = threading.Event()
    tick = bench.node._controller.tick

    def fail_once(*arguments: object, **keywords: object) -> object:
        if not failed.is_set():
            failed.set()
            raise ZeroDivisionError("oops")
        return tick(*arguments, **keywords)

    monkeypatch.setattr(bench.node._controller, "tick", fail_once)
    state = bench.wait(ControllerState.HOLDING, ControllerState.CAUSE_FAULT)
    assert state.message == "the controller failed"
    deltas = len(bench.deltas)
    bench.graph.wait(lambda: len(bench.deltas) > deltas + 5)
    assert bench.node.loop.alive


def test_an_exception_of_a_callback_holds(bench: Bench, monkeypatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(controller_node, "chunk_from_msg", fail)
    bench.chunks.publish(ActionChunkMsg())
    state = bench.wait(ControllerState.HOLDING, ControllerState.CAUSE_FAULT)
    assert "_on_chunk failed" in state.message


def test_every_safety_layer_has_a_diagnostic_of_its_own(bench: Bench):
    recorder = bench.graph.record(DiagnosticArray, "/diagnostics")
    bench.chunks.publish(ActionChunkMsg(goal_id=uuid_to_msg(GOAL)))
    array = recorder.wait(
        lambda array: any(
            status.name == "controller: chunk contents" and status.level == DiagnosticStatus.WARN
            for status in array.status
        ),
        what="a diagnostic of the chunk without steps",
    )
    names = [status.name for status in array.status]
    assert [f"controller: {layer}" for layer in LAYERS] == [n for n in names if n[12:] in LAYERS]
    publishers = next(status for status in array.status if status.name == "controller: publishers")
    assert publishers.level == DiagnosticStatus.OK
    another = bench.graph.publisher(ActionChunkMsg, "action_chunk")
    warning = recorder.wait(
        lambda array: any(
            status.name == "controller: publishers" and status.level == DiagnosticStatus.WARN
            for status in array.status
        ),
        what="a warning of the second publisher",
    )
    assert any(another.topic_name in status.message for status in warning.status)


def test_a_report_that_fails_does_not_touch_the_commands(bench: Bench, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(controller_node, "state_to_msg", fail)
    deltas = len(bench.deltas)
    bench.graph.wait(lambda: len(bench.deltas) > deltas + 20)
    assert bench.node.loop.alive


def test_adapters_are_let_go_at_the_end(graph: Graph, monkeypatch):
    made = Bench(graph, monkeypatch)
    made.close()
    assert made.driver.closed
    assert not made.node.loop.alive
