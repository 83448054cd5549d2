"""Runs a policy node as a process, from its first parameter to a goal's last word."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from dream_vla_ros.nodes.managed_node import serve_managed
from dream_vla_ros.nodes.policy.base import PolicyNodeBase
from dream_vla_ros.nodes.serving import run_node

_SHUTDOWN_S = 2.5


def run_policy_node(make: Callable[[], PolicyNodeBase], args: Sequence[str] | None = None) -> int:
    """Run a policy node until SIGINT or SIGTERM.

    :param make: Makes the node, after rclpy was initialised.
    :param args: Command line; that of the process by default.
    :returns: Exit code: 0 when told to end, 2 for wrong parameters.
    """
    return run_node("policy", make, _serve, args)


def _serve(node: PolicyNodeBase, ending: threading.Event) -> int:
    return serve_managed(node, ending, end=node.end_goal, shutdown_s=_SHUTDOWN_S, close=node.close)
