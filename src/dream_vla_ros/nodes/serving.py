"""Runs a node as a process: from its command line to an orderly end at SIGINT or SIGTERM.

A signal may come at any moment, in the middle of making the node as well. ROS's own handlers close the
context at once, under whatever is being made or published then; these only note that the process is to end.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from dream_vla_ros.nodes.memory import keep_freed_memory

AnyNode = TypeVar("AnyNode", bound=Node)

EXIT_FAULT = 1
EXIT_PARAMETERS = 2


def run_node(
    label: str,
    make: Callable[[], AnyNode],
    serve: Callable[[AnyNode, threading.Event], int],
    args: Sequence[str] | None = None,
) -> int:
    """Make a node and serve it until SIGINT or SIGTERM.

    :param label: What the process is called in a message before there is a node.
    :param make: Makes the node, after rclpy was initialised.
    :param serve: Runs the node until the event is set, and returns the exit code. What it raises is a fault.
    :param args: Command line; that of the process by default.
    :returns: Exit code: that of ``serve``, 2 when the node cannot be made, 1 for a fault.
    """
    ending = threading.Event()
    keep_freed_memory()
    # A shell starts background jobs with SIGINT ignored; a node must still end with its launch.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    try:
        rclpy.init(args=None if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
        node = make()
    except ValueError as error:
        print(f"{label}: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return EXIT_PARAMETERS
    except Exception as error:  # rclpy raises a different class for each thing a command line can get wrong
        print(f"{label}: cannot start: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return EXIT_PARAMETERS
    try:
        return serve(node, ending)
    except Exception:
        node.get_logger().fatal(traceback.format_exc())
        return EXIT_FAULT
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        # Python takes its handlers away before the process is gone: a second signal would kill it in between.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
