"""The dead-man switch on its topic, with a controller in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from controller_rig import Rig, motion_of
from ros_graph import BEST_EFFORT, Graph
from std_msgs.msg import Bool

from dream_vla_msgs.msg import ControllerState
from dream_vla_ros.nodes.conversions import time_from_msg

pytestmark = pytest.mark.ros

STOP_TICKS = 10
STILL_COMMANDS = 25
# A busy machine that keeps a message back must not pass for a switch that is let go.
PATIENCE = {
    "dead_man_topic": "enable",
    "dead_man_timeout": 5.0,
    "timing.policy_timeout": 5.0,
    "timing.state_max_age": 5.0,
    "timing.chunk_max_age": 30.0,
}


class Switch:
    """Says that it is held, or that it is not, or nothing."""

    def __init__(self, graph: Graph) -> None:
        self.says: bool | None = False
        self._publisher = graph.publisher(Bool, "enable", BEST_EFFORT)
        graph.wait_matched(self._publisher)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(0.05):
            if self.says is not None:
                self._publisher.publish(Bool(data=self.says))


@pytest.fixture(scope="module")
def module_rig(module_graph: Graph) -> Iterator[Rig]:
    made = Rig(module_graph, parameters=PATIENCE)
    made.switch = Switch(module_graph)
    yield made
    made.switch.close()
    made.close()


@pytest.fixture
def rig(module_rig: Rig) -> Rig:
    module_rig.switch.says = True
    module_rig.reset()
    return module_rig


def begin_held(rig: Rig) -> None:
    """Begin goals until one stands: the word that the switch is held takes its own way."""

    def taken_up() -> bool:
        rig.begin()
        state = rig.states.wait(lambda s: s.mode in (ControllerState.IDLE, ControllerState.HOLDING))
        return state.mode == ControllerState.HOLDING

    rig.graph.wait(taken_up, what="a goal while the switch is held")


def move(rig: Rig) -> None:
    begin_held(rig)
    start_ns = rig.graph.now_ns()
    # Slowly: it must not come to the end of the workspace before the silence is noticed.
    rig.give((0.004, 0.0, 0.0), steps=100, period_s=0.2)
    rig.graph.wait(lambda: any(motion_of(d)[0] > 0.0 for d in rig.deltas_since(start_ns)), what="motion")


def check_stands_after(rig: Rig, state: ControllerState) -> None:
    """Assert that no tick commanded motion from the stop time on, and none does afterwards."""
    since_ns = time_from_msg(state.header.stamp)
    enough = STOP_TICKS + STILL_COMMANDS
    rig.graph.wait(lambda: len(rig.deltas_since(since_ns)) > enough, what="commands to go on")
    assert not any(motion_of(delta).any() for delta in rig.deltas_since(since_ns)[STOP_TICKS:])


@pytest.mark.parametrize(("says", "words"), [(False, "is not held"), (None, "has been silent for")])
def test_letting_go_stops_the_arm_and_only_a_new_goal_moves_it(rig: Rig, says: bool | None, words: str):
    move(rig)
    goal = rig.goal_id
    rig.switch.says = says
    state = rig.wait_mode(ControllerState.IDLE, ControllerState.CAUSE_DEAD_MAN)
    assert words in state.message
    check_stands_after(rig, state)

    rig.switch.says = True
    held = rig.wait_mode(ControllerState.IDLE, ControllerState.CAUSE_NO_GOAL)
    assert "let go; send a new goal" in held.message
    rig.beat(goal)
    rig.give((0.01, 0.0, 0.0), goal_id=goal)
    rig.states.wait(lambda s: s.chunks_refused > held.chunks_refused, what="the chunk to be refused")
    check_stands_after(rig, held)
    move(rig)


def test_no_goal_begins_while_the_switch_is_not_held(rig: Rig):
    rig.switch.says = False
    rig.graph.wait(lambda: refused(rig), what="a goal to be refused")
    assert not motion_of(rig.deltas.wait()).any()


def refused(rig: Rig) -> bool:
    rig.goal_id = bytes([len(rig.states) % 251 + 1]) * 16
    rig.beat()
    state = rig.states.wait(lambda s: s.mode in (ControllerState.IDLE, ControllerState.HOLDING))
    return state.cause == ControllerState.CAUSE_DEAD_MAN
