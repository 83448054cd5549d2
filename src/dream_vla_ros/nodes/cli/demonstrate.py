"""Record demonstrations of the scripted expert on the simulated tabletop, without a graph.

The bags hold what 'dream_vla record' would have recorded of the simulation, the expert and the controller; a
seed gives the same messages every time. It goes as fast as the machine does.

exit status: 0 when all were recorded, 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dream_vla_ros.embodiment import Embodiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("tasks", nargs="+", help="instructions, taken in turn, e.g. 'pick up the red block'")
    parser.add_argument("--out", type=Path, required=True, help="folder for the bags")
    parser.add_argument("--episodes", type=int, default=10, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first; others count up")
    parser.add_argument("--image-size", type=int, default=224, help="pixels (default: %(default)s)")
    parser.add_argument("--blocks", type=int, default=4, help="blocks on the table (default: %(default)s)")
    parser.add_argument("--vary-looks", action="store_true", help="vary camera, light and colours a little")
    parser.add_argument(
        "--images",
        choices=("raw", "jpeg"),
        default="raw",
        help="as the simulation publishes them, or the compressed ones beside (default: %(default)s)",
    )
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    :returns: The exit status.
    """
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    began, failed, seconds = time.monotonic(), 0, 0.0
    options = vars(arguments)
    with ProcessPoolExecutor(max(1, arguments.workers), mp_context=get_context("spawn")) as pool:
        for seed, (error, success, duration_s) in zip(
            seeds, pool.map(record_one, seeds, repeat(options)), strict=True
        ):
            seconds += duration_s
            if error:
                failed += 1
                print(f"error: seed {seed}: {error}", file=sys.stderr)
            else:
                print(
                    f"expert_{seed:06d}: {duration_s:.1f} s, {'done' if success else 'NOT done'}", flush=True
                )
    took_s = time.monotonic() - began
    speed = f"{seconds / took_s:.1f} x real time"
    print(f"{len(seeds) - failed} episodes, {seconds:.0f} s in {took_s:.0f} s ({speed})")
    return 1 if failed else 0


_KEPT: dict[str, Any] = {}


def record_one(seed: int, options: dict[str, Any]) -> tuple[str, bool, float]:
    """Record one episode in this process; what it is made with stays for the next.

    :returns: Why it failed or nothing, whether the task was done, and its duration [s].
    """
    from dream_vla_ros.data.bag_writer import BagStorage
    from dream_vla_ros.data.errors import DataError
    from dream_vla_ros.embodiment import Embodiment
    from dream_vla_ros.nodes.resources import TABLETOP, robot_config
    from dream_vla_ros.nodes.sim.demonstration import Demonstrator, record_demonstration
    from dream_vla_ros.nodes.sim.tape import Tape
    from dream_vla_ros.sim.appearance import MODEST_VARIATION
    from dream_vla_ros.sim.simulation import TabletopSim
    from dream_vla_ros.sim.tasks import task_from_instruction

    tasks = options["tasks"]
    try:
        task = task_from_instruction(tasks[(seed - options["seed"]) % len(tasks)])
        if not _KEPT:
            config = robot_config(TABLETOP)
            embodiment = Embodiment.from_file(config)
            size = options["image_size"]
            sim = TabletopSim(
                num_blocks=options["blocks"],
                image_size=(size, size),
                variation=MODEST_VARIATION if options["vary_looks"] else None,
            )
            tape = Tape("sim", _topics(embodiment, options["images"]))
            robot = (embodiment.robot, config.read_text(encoding="utf-8"))
            _KEPT.update(tape=tape, robot=robot, demonstrator=Demonstrator(embodiment, sim, tape))
        made = record_demonstration(
            _KEPT["demonstrator"],
            _KEPT["tape"],
            task,
            seed,
            options["out"],
            _KEPT["robot"],
            BagStorage(options["storage"]),
        )
    except (ValueError, RuntimeError, OSError, DataError) as error:
        return str(error), False, 0.0
    return "", made.success, made.duration_s


def _topics(embodiment: Embodiment, images: str) -> list[str]:
    from dream_vla_ros.data.recorded_topics import recorded_topics

    ending = "/compressed" if images == "jpeg" else ""
    return [f"{topic.name}{ending}" if topic.camera else topic.name for topic in recorded_topics(embodiment)]
