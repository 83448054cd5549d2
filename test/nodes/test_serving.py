"""Tests of a node's process: its signals, its exit codes and its last words."""

from __future__ import annotations

import os
import signal

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2; source a distribution or run `make setup`")

from rclpy.node import Node

from dream_vla_ros.nodes.serving import run_node
from dream_vla_ros.nodes.spinner import Spinner
from dream_vla_ros.parameters import ParameterError

pytestmark = pytest.mark.ros


@pytest.fixture(autouse=True)
def handlers(domain_id):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def serve(node, ending):
    """Wait for the end with callbacks running."""
    spinner = Spinner(node, ending.set)
    spinner.start()
    assert ending.wait(10.0)
    spinner.stop()
    return 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_node_is_made_ends_it_in_good_order(number):
    made = []

    def make():
        node = Node("early")
        os.kill(os.getpid(), number)
        # Making a timer fails in a context that is shut down.
        node.create_timer(0.01, lambda: None)
        made.append(node)
        return node

    assert run_node("early", make, serve, []) == 0
    assert made


def test_a_second_signal_changes_nothing():
    def make():
        node = Node("twice")
        node.create_timer(0.01, lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(3)])
        return node

    assert run_node("twice", make, serve, []) == 0
    # Nor does one in the last moments of the process.
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("error", [ParameterError("rate: must be positive"), OSError("no such device")])
def test_a_node_that_cannot_be_made_says_why(error, capfd):
    def make():
        raise error

    assert run_node("label", make, serve, []) == 2
    assert f"{error}" in capfd.readouterr().err


def test_wrong_ros_arguments_end_it_with_a_message(capfd):
    assert run_node("label", lambda: Node("never"), serve, ["--ros-args", "-r", "nonsense"]) == 2
    assert "label: cannot start" in capfd.readouterr().err


def test_a_failing_callback_is_logged_and_the_next_one_runs(capfd):
    calls = []

    def make():
        node = Node("failing")

        def tick():
            calls.append(len(calls))
            if len(calls) < 3:
                raise RuntimeError("a bad tick")
            os.kill(os.getpid(), signal.SIGTERM)

        node.create_timer(0.01, tick)
        return node

    assert run_node("failing", make, serve, []) == 0
    assert len(calls) >= 3
    assert "a bad tick" in capfd.readouterr().err


def test_what_serving_raises_is_a_fault(capfd):
    def broken(node, ending):
        raise RuntimeError("the loop is gone")

    assert run_node("broken", lambda: Node("broken"), broken, []) == 1
    assert "the loop is gone" in capfd.readouterr().err
