"""Try tasks of several steps on the simulated tabletop: planner, policy and controller together.

Seeded tasks whose shortest plans have as many steps as asked for, without DDS and in simulated time. The
policy carries out one instruction after the other; who says what holds is a checkpoint (--answers) or the
simulation's own state. A task is finished when its goal truly holds in the end, whatever is believed.
Intervals are Wilson's of 95 %.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from dream_vla_ros.nodes.cli.evaluate import count_of
from dream_vla_ros.nodes.cli.progress import ProgressLine
from dream_vla_ros.nodes.resources import TABLETOP, robot_config, trained_tabletop_checkpoint

MODES = ("grounder", "planner")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--checkpoint", type=Path, help="of the policy (default: models/tabletop)")
    parser.add_argument(
        "--expert", action="store_true", help="the scripted expert as policy: what a perfect one would reach"
    )
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="FOLDER",
        help="checkpoint that answers or plans (default: the simulation's own state)",
    )
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="what it is for (default: grounder)")
    parser.add_argument(
        "--free", action="store_true", help="do not keep the plans it writes within their grammar"
    )
    parser.add_argument(
        "--steps", nargs="+", type=count_of, default=[3], metavar="N", help="lengths of plans (default: 3)"
    )
    parser.add_argument("--episodes", type=count_of, default=200, help="tasks of each (default: %(default)s)")
    parser.add_argument("--blocks", type=int, default=4, choices=(3, 4), help="on the table (default: 4)")
    parser.add_argument("--seed", type=int, help="of the first task (default: far from training's)")
    parser.add_argument("--latency", type=float, default=0.1, metavar="S", help="of a prediction [s]")
    parser.add_argument(
        "--time-limit",
        type=float,
        default=20.0,
        metavar="S",
        help="of an instruction (default: 20 s)",
    )
    parser.add_argument("--workers", type=count_of, default=1, help="processes to share the tries")
    parser.add_argument("--out", type=Path, help="file for one JSON line per try")
    parser.add_argument("--videos", type=Path, metavar="FOLDER", help="write videos of failures")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate.

    :returns: The exit status.
    """
    from dream_vla_ros.embodiment import Embodiment
    from dream_vla_ros.nodes.planner.model import DreamVlModel
    from dream_vla_ros.nodes.planner.model_settings import DreamVlSettings
    from dream_vla_ros.training.evaluation import FIRST_SEED, save_records
    from dream_vla_ros.training.planned_evaluation import PlannedTries, evaluate_planned, planned_table
    from dream_vla_ros.training.planned_tasks import Mode

    checkpoint = None if arguments.expert else arguments.checkpoint or trained_tabletop_checkpoint()
    if not arguments.expert and (checkpoint is None or not checkpoint.is_dir()):
        given = arguments.checkpoint or "models/tabletop"
        print(f"error: no checkpoint {given}: give a folder with --checkpoint", file=sys.stderr)
        return 1
    tries = PlannedTries(
        episodes=arguments.episodes,
        steps=tuple(dict.fromkeys(arguments.steps)),
        seed=FIRST_SEED if arguments.seed is None else arguments.seed,
        num_blocks=arguments.blocks,
        mode=Mode(arguments.mode),
        constrained=not arguments.free,
        latency_s=arguments.latency,
        time_limit_s=arguments.time_limit,
    )
    progress = ProgressLine(sys.stderr)
    try:
        embodiment = Embodiment.from_file(robot_config(TABLETOP))
        load = None
        if arguments.answers is not None:
            load = functools.partial(DreamVlModel.load, DreamVlSettings(str(arguments.answers)), embodiment)
            load().close()  # what is wrong with it is better said at once, and once
        records = evaluate_planned(
            checkpoint,
            embodiment,
            tries,
            load,
            workers=arguments.workers,
            videos=arguments.videos,
            progress=lambda done, total, last: progress.show(f"tried {done} of {total}: {last['task']}"),
        )
    except (RuntimeError, ValueError) as error:
        progress.end()
        print(f"error: {error}", file=sys.stderr)
        return 1
    progress.end()
    if arguments.out is not None:
        save_records(arguments.out, records)
    print(planned_table(records))
    return 0
