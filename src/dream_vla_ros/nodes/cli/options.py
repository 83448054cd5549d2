"""Options that every command talking to a running graph has."""

from __future__ import annotations

import argparse
from typing import Any


def add_graph_options(parser: argparse.ArgumentParser, *, timeout_s: float = 10.0) -> None:
    """Declare where the robot's nodes are and how long to wait for them.

    :param timeout_s: Default of ``--timeout``.
    """
    parser.add_argument("--namespace", default="", metavar="NS", help="namespace of the robot's nodes")
    parser.add_argument(
        "--timeout",
        type=float,
        default=timeout_s,
        metavar="S",
        help=f"how long to wait for the robot's nodes [s] (default: {timeout_s:g})",
    )


def client_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the parsed options as :class:`~dream_vla_ros.nodes.client.robot.DreamVLA` takes them."""
    return {"namespace": arguments.namespace, "ros_args": arguments.ros_args}
