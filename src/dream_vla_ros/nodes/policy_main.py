"""Runs a policy node as a process, from its first parameter to a goal's last word."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from dream_vla_ros.nodes.policy_base import PolicyNodeBase
from dream_vla_ros.parameters import ParameterError

EXIT_PARAMETERS = 2
# Launch sends SIGTERM 5 s after SIGINT; by then the node has ended its goal and left.
_SHUTDOWN_S = 2.5
_LAST_WORDS_S = 1.0


def run_policy_node(make: Callable[[], PolicyNodeBase], args: Sequence[str] | None = None) -> int:
    """Run a policy node until SIGINT or SIGTERM.

    :param make: Makes the node, after rclpy was initialised.
    :param args: Command line; that of the process by default.
    :returns: Exit code: 0 when told to end, 2 for wrong parameters.
    """
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    try:
        # ROS's own handlers would close the publishers before the arm was told to hold.
        rclpy.init(args=None if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
        node = make()
    except ParameterError as error:
        print(f"policy: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return EXIT_PARAMETERS
    except Exception as error:  # rclpy raises a different class for each thing a command line can get wrong
        print(f"policy: cannot start: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return EXIT_PARAMETERS

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinning = threading.Thread(target=_spin, args=(executor, node, ending), name="callbacks", daemon=True)
    spinning.start()
    if node.autostart:
        threading.Thread(target=node.start, name="autostart", daemon=True).start()
    ending.wait()
    return _end(node, executor, spinning)


def _spin(executor: SingleThreadedExecutor, node: PolicyNodeBase, ending: threading.Event) -> None:
    while executor.context.ok() and _spin_once(executor, node):
        pass
    ending.set()


def _spin_once(executor: SingleThreadedExecutor, node: PolicyNodeBase) -> bool:
    """Run the next callback; say whether there can be more."""
    try:
        executor.spin_once(timeout_sec=1.0)
    except (ExternalShutdownException, ShutdownException):
        return False
    except Exception:
        # One bad callback must not leave the controller without a heartbeat to trust.
        node.get_logger().error(f"a callback failed:\n{traceback.format_exc()}")
    return True


def _end(node: PolicyNodeBase, executor: SingleThreadedExecutor, spinning: threading.Thread) -> int:
    leaving = threading.Thread(target=node.shut_down, name="shutdown", daemon=True)
    leaving.start()
    node.end_goal()
    leaving.join(_SHUTDOWN_S)
    deadline = time.monotonic() + _LAST_WORDS_S
    while not node.idle and time.monotonic() < deadline:
        time.sleep(0.01)
    node.close()
    if leaving.is_alive():
        # A model is loading or predicting; tearing it down from here would crash the process.
        node.get_logger().warning("ended in the middle of loading or predicting")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    executor.shutdown(timeout_sec=_LAST_WORDS_S)
    spinning.join(_LAST_WORDS_S)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0
