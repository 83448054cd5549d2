"""Look at a bag or a dataset as a practitioner would.

Draws a contact sheet, actions and state over time, how capture times are spread and what the gripper did, as
PNG files, and tells what looks wrong: repeated images, constant actions, cameras that lag behind the arm, a
gripper whose polarity looks inverted, damage.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dream_vla_ros.data.bag_episodes import BagRules
from dream_vla_ros.data.cli_common import (
    EXIT_ERROR,
    EXIT_OK,
    add_topic_arguments,
    clock_offsets,
    robot_file,
    topic_names,
)
from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.inspection import warnings
from dream_vla_ros.data.view import views
from dream_vla_ros.images import ImageError
from dream_vla_ros.parameters import ParameterError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, help="a bag or a LeRobot dataset")
    parser.add_argument("--robot", type=robot_file, help="the robot's file; needed for bags")
    parser.add_argument("--out", type=Path, help="folder for the pictures (default: NAME_inspection)")
    parser.add_argument(
        "--episodes", type=int, default=6, help="episodes to look at, spread evenly (default: %(default)s)"
    )
    parser.add_argument(
        "--thumbnails", type=int, default=8, help="images of each in the contact sheet (default: %(default)s)"
    )
    add_topic_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Inspect; pictures and warnings are listed on standard output."""
    from dream_vla_ros.data.plots import draw_all

    source = arguments.source.resolve()
    folder = arguments.out or Path(f"{source.name.removesuffix('.mcap').removesuffix('.db3')}_inspection")
    try:
        rules = BagRules(names=topic_names(arguments), clock_offsets_s=clock_offsets(arguments))
        shown, notes = views(
            source, arguments.robot, rules, limit=arguments.episodes, thumbnails=arguments.thumbnails
        )
        if not shown:
            raise DataError(f"{source}: there is no episode to look at: {'; '.join(notes) or 'it is empty'}")
        pictures = draw_all(shown, folder)
    except (DataError, ParameterError, ImageError, argparse.ArgumentTypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    frames = sum(len(view) for view in shown)
    print(f"{source}: looked at {len(shown)} episodes, {frames} frames")
    for note in notes:
        print(f"note: {note}")
    found = warnings(shown)
    for text in found:
        print(f"warning: {text}")
    if not found:
        print("nothing looks wrong")
    for picture in pictures:
        print(picture)
    return EXIT_OK
