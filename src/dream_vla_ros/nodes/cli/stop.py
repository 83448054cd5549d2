"""Press the emergency stop: the arm holds, every goal ends, and nothing moves until 'dream_vla resume'."""

from __future__ import annotations

import argparse
import sys

from dream_vla_ros.nodes.cli.options import add_graph_options, client_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_graph_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    :returns: The exit status: 0 when the controller confirmed.
    """
    return trigger(arguments, "stop")


def trigger(arguments: argparse.Namespace, command: str) -> int:
    """Give the controller a command and print what it says.

    :param command: ``stop`` or ``resume``.
    :returns: The exit status: 0 when the controller confirmed.
    """
    from dream_vla_ros.nodes.client.robot import CommandFailedError, DreamVLA, NotReadyError

    with DreamVLA(**client_options(arguments)) as robot:
        try:
            print(getattr(robot, command)(timeout_s=arguments.timeout))
        except (NotReadyError, CommandFailedError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0
