"""Runs a policy node as a process, from its first parameter to a goal's last word."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence

from dream_vla_ros.nodes.policy.base import PolicyNodeBase
from dream_vla_ros.nodes.serving import run_node
from dream_vla_ros.nodes.spinner import Spinner

# Launch sends SIGTERM 5 s after SIGINT; by then the node has ended its goal and left.
_SHUTDOWN_S = 2.5
_LAST_WORDS_S = 1.0


def run_policy_node(make: Callable[[], PolicyNodeBase], args: Sequence[str] | None = None) -> int:
    """Run a policy node until SIGINT or SIGTERM.

    :param make: Makes the node, after rclpy was initialised.
    :param args: Command line; that of the process by default.
    :returns: Exit code: 0 when told to end, 2 for wrong parameters.
    """
    return run_node("policy", make, _serve, args)


def _serve(node: PolicyNodeBase, ending: threading.Event) -> int:
    spinner = Spinner(node, ending.set)
    spinner.start()
    if node.autostart:
        threading.Thread(target=node.start, name="autostart", daemon=True).start()
    ending.wait()
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
    spinner.stop()
    return 0
