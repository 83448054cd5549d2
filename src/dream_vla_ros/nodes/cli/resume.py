"""Release the emergency stop; nothing moves until a new goal is sent."""

from __future__ import annotations

import argparse

from dream_vla_ros.nodes.cli.options import add_graph_options
from dream_vla_ros.nodes.cli.stop import trigger


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_graph_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    :returns: The exit status: 0 when the controller confirmed.
    """
    return trigger(arguments, "resume")
