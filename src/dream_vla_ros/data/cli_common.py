"""Options that the commands on recordings share."""

from __future__ import annotations

import argparse
from pathlib import Path

from dream_vla_ros.data.topics import TopicNames

EXIT_OK, EXIT_ERROR = 0, 1


def add_topic_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what tells which topics of a bag are the robot's."""
    group = parser.add_argument_group("topics of bags")
    group.add_argument("--namespace", default="", help="namespace of the robot's relative topics")
    group.add_argument(
        "--remap",
        action="append",
        default=[],
        metavar="NAME:=TOPIC",
        help="topic of the bag for a topic of the robot's file; may be repeated",
    )
    group.add_argument(
        "--clock-offset",
        action="append",
        default=[],
        metavar="TOPIC=SECONDS",
        help="added to the stamps of a topic whose clock was wrong; may be repeated",
    )


def topic_names(arguments: argparse.Namespace) -> TopicNames:
    """Read ``--namespace`` and ``--remap``.

    :raises argparse.ArgumentTypeError: Naming the option that is malformed.
    """
    return TopicNames(arguments.namespace, dict(pair(text, ":=", "--remap") for text in arguments.remap))


def clock_offsets(arguments: argparse.Namespace) -> dict[str, float]:
    """Read ``--clock-offset``.

    :raises argparse.ArgumentTypeError: Naming the option that is malformed.
    """
    offsets = {}
    for text in arguments.clock_offset:
        topic, seconds = pair(text, "=", "--clock-offset")
        try:
            offsets[topic] = float(seconds)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"--clock-offset {text}: '{seconds}' is no number") from error
    return offsets


def pair(text: str, separator: str, option: str) -> tuple[str, str]:
    """Part an option's value in two.

    :raises argparse.ArgumentTypeError: If there is nothing on one side.
    """
    left, found, right = text.partition(separator)
    if not found or not left or not right:
        raise argparse.ArgumentTypeError(f"{option} {text}: not of the form NAME{separator}VALUE")
    return left, right


def robot_file(name: str) -> Path:
    """Return a robot's parameter file, given as a path."""
    return Path(name).expanduser()
