"""The keyboard of a terminal on the topic of a joystick."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from ros_graph import TIMEOUT_S, Graph
from sensor_msgs.msg import Joy
from terminal import Terminal

pytestmark = pytest.mark.ros

COMMAND = [sys.executable, "-m", "dream_vla_ros.nodes.cli.main", "keyboard"]


@pytest.fixture
def terminal(graph: Graph) -> Iterator[Terminal]:
    made = Terminal([*COMMAND, "--namespace", graph.namespace], dict(os.environ))
    yield made
    made.close()


def test_keys_become_a_joystick_that_lets_go_by_itself(graph: Graph, terminal: Terminal):
    sticks = graph.record(Joy, "joy")
    still = sticks.wait()
    assert not any(still.axes)
    assert not any(still.buttons)
    terminal.type("w")
    moving = sticks.wait(lambda joy: any(joy.axes))
    assert moving.axes[0] == pytest.approx(0.5)
    assert moving.buttons[0] == 1
    sticks.wait(lambda joy: not any(joy.axes) and not any(joy.buttons))
    terminal.type("]")
    assert sticks.wait(lambda joy: joy.buttons[1] == 1).buttons[0] == 1
    terminal.type("q")
    assert terminal.process.wait(TIMEOUT_S) == 0


def test_without_a_terminal_it_says_so():
    done = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "terminal" in done.stderr
