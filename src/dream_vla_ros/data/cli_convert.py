"""Make a LeRobot v3 dataset of recordings.

Sources are bags (any rosbag2, or folders of them), LeRobot datasets (v2.1, v3) and RLDS datasets. Cameras,
state and commands are put on the robot's period by their capture stamps; episodes that failed are left out,
and so is the time in which nothing happens. Beside the dataset dataset_statistics.json is written, and
meta/conversion.json tells what was kept, dropped and why. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from dream_vla_ros.data.align import ActionSource
from dream_vla_ros.data.bag_episodes import BagRules
from dream_vla_ros.data.cli_common import (
    EXIT_ERROR,
    EXIT_OK,
    add_topic_arguments,
    clock_offsets,
    pair,
    robot_file,
    topic_names,
)
from dream_vla_ros.data.convert import Conversion, Progress, convert, find_sources
from dream_vla_ros.data.convert_job import ForeignNames
from dream_vla_ros.data.dataset_stage import ImageRules, ImageStorage
from dream_vla_ros.data.errors import DataError
from dream_vla_ros.data.idle import IdleRule, Trim
from dream_vla_ros.data.video import Codec, VideoSettings
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.parameters import ParameterError

_PROGRESS_EVERY_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    idle, video = IdleRule(), VideoSettings()
    parser.add_argument("sources", nargs="+", type=Path, help="bags, datasets, or folders of them")
    parser.add_argument("--robot", required=True, type=robot_file, help="the robot's parameter file")
    parser.add_argument("--out", required=True, type=Path, help="folder of the dataset")
    parser.add_argument("--overwrite", action="store_true", help="replace a dataset that is there")
    parser.add_argument("--workers", type=int, default=0, help="processes to use (default: one per core)")
    group = parser.add_argument_group("episodes")
    group.add_argument("--task", default="", help="instruction of all episodes, for bags that tell none")
    group.add_argument(
        "--actions",
        choices=[one.value for one in ActionSource],
        default=ActionSource.REACHED.value,
        help="what counts as action: motion that was reached, or commanded (default: %(default)s)",
    )
    group.add_argument(
        "--include-failed", action="store_true", help="keep episodes that failed or were cut off"
    )
    group.add_argument(
        "--min-frames", type=int, default=0, help="leave shorter episodes out (default: one chunk)"
    )
    group.add_argument(
        "--idle",
        choices=[one.value for one in Trim],
        default=idle.trim.value,
        help="idle frames to leave out (default: %(default)s)",
    )
    group.add_argument(
        "--idle-speed",
        type=float,
        default=idle.speed,
        help="slower is idle [m/s] (default: %(default)s)",
    )
    group.add_argument(
        "--idle-turn-rate",
        type=float,
        default=idle.turn_rate,
        help="slower is idle [rad/s] (default: %(default)s)",
    )
    group.add_argument(
        "--keep-after",
        type=int,
        default=-1,
        help="idle frames kept after the last motion, to learn standing still from (default: one chunk)",
    )
    group.add_argument("--urdf", type=Path, help="robot description, for bags that hold none")
    group = parser.add_argument_group("images")
    group.add_argument(
        "--images",
        choices=[one.value for one in ImageStorage],
        default=ImageStorage.VIDEO.value,
        help="video is small, exact keeps every pixel (default: %(default)s)",
    )
    group.add_argument(
        "--image-size",
        type=int,
        default=0,
        help="prepare images for a model that sees squares of so many pixels (default: as recorded)",
    )
    group.add_argument(
        "--codec", choices=[one.value for one in Codec], default=video.codec.value, help="of videos"
    )
    group.add_argument(
        "--video-quality",
        type=int,
        default=video.quality,
        help="constant rate factor; lower is better (default: %(default)s)",
    )
    add_topic_arguments(parser)
    group = parser.add_argument_group("datasets of others")
    group.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="NAME:=CAMERA",
        help="the dataset's camera for one of the robot's file; may be repeated",
    )
    group.add_argument("--state-key", default="", help="feature with the arm's state")
    group.add_argument("--action-key", default="", help="feature with the actions")
    parser.add_argument(
        "--statistics-key", default="", help="name in dataset_statistics.json (default: action.unnorm_key)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert; the report goes to standard output, progress and errors to standard error."""
    try:
        report = convert(_conversion(arguments), _Bar())
    except (DataError, ParameterError, argparse.ArgumentTypeError, OSError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return EXIT_ERROR
    print(file=sys.stderr)
    print("\n".join(report.lines()))
    return EXIT_ERROR if report.failed else EXIT_OK


def _conversion(arguments: argparse.Namespace) -> Conversion:
    embodiment = Embodiment.from_file(arguments.robot)
    keep_after = embodiment.action.chunk_size if arguments.keep_after < 0 else arguments.keep_after
    rules = BagRules(
        actions=ActionSource(arguments.actions),
        idle=IdleRule(Trim(arguments.idle), arguments.idle_speed, arguments.idle_turn_rate, keep_after),
        task=arguments.task,
        include_failed=arguments.include_failed,
        min_frames=arguments.min_frames,
        names=topic_names(arguments),
        clock_offsets_s=clock_offsets(arguments),
        urdf=arguments.urdf.read_text(encoding="utf-8") if arguments.urdf else "",
    )
    images = ImageRules(
        ImageStorage(arguments.images),
        arguments.image_size,
        video=VideoSettings(Codec(arguments.codec), arguments.video_quality),
    )
    cameras = tuple(pair(text, ":=", "--camera") for text in arguments.camera)
    return Conversion(
        find_sources(arguments.sources),
        arguments.robot,
        arguments.out,
        rules,
        images,
        ForeignNames(cameras, arguments.state_key, arguments.action_key),
        arguments.statistics_key,
        arguments.workers,
        arguments.overwrite,
    )


class _Bar:
    """Tells on standard error how far the conversion is."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._told = self._began

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._told < _PROGRESS_EVERY_S and progress.sources_done < progress.sources:
            return
        self._told = now
        rate = progress.images / max(1e-3, now - self._began)
        print(
            f"\r{progress.sources_done} of {progress.sources} sources, {progress.images} images, "
            f"{rate:.0f} images/s ",
            end="",
            file=sys.stderr,
            flush=True,
        )
