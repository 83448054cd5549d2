"""Try a checkpoint on the simulated tabletop, as often as it takes to know.

Seeded closed-loop tries through the real policy and controller code, in simulated time and without DDS.
Success counts when the goal holds for a second within the time limit; intervals are Wilson's of 95 %.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dream_vla_ros.nodes.cli.progress import ProgressLine
from dream_vla_ros.nodes.resources import TABLETOP, robot_config, trained_tabletop_checkpoint

KINDS = ("pick", "stack", "push")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--checkpoint", type=Path, help="checkpoint folder (default: models/tabletop)")
    parser.add_argument(
        "--task", nargs="+", default=["all"], choices=["all", *KINDS], help="kinds of task (default: all)"
    )
    parser.add_argument("--episodes", type=_count, default=200, help="tries of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of the first scene (default: far from training's)")
    parser.add_argument("--blocks", type=int, default=4, choices=(3, 4), help="on the table")
    parser.add_argument("--latency", type=float, default=0.1, metavar="S", help="of a prediction [s]")
    parser.add_argument(
        "--wrong", action="store_true", help="make scenes for other blocks than the words speak of"
    )
    parser.add_argument("--workers", type=_count, default=1, help="processes to share the tries")
    parser.add_argument("--out", type=Path, help="file for one JSON line per try")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate.

    :returns: The exit status.
    """
    from dream_vla_ros.embodiment import Embodiment
    from dream_vla_ros.training.evaluation import FIRST_SEED, Plan, evaluate, rates, save_records

    checkpoint = arguments.checkpoint or trained_tabletop_checkpoint()
    if checkpoint is None or not checkpoint.is_dir():
        given = arguments.checkpoint or "models/tabletop"
        print(f"error: no checkpoint {given}: give a folder with --checkpoint", file=sys.stderr)
        return 1
    plan = Plan(
        kinds=KINDS if "all" in arguments.task else tuple(dict.fromkeys(arguments.task)),
        episodes=arguments.episodes,
        seed=FIRST_SEED if arguments.seed is None else arguments.seed,
        wrong=arguments.wrong,
        num_blocks=arguments.blocks,
        latency_s=arguments.latency,
    )
    progress = ProgressLine(sys.stderr)
    records = evaluate(
        checkpoint,
        Embodiment.from_file(robot_config(TABLETOP)),
        plan,
        workers=arguments.workers,
        progress=lambda done, total, last: progress.show(f"tried {done} of {total}: {last['instruction']}"),
    )
    progress.end()
    if arguments.out is not None:
        save_records(arguments.out, records)
    for kind, rate in rates(records).items():
        print(f"{kind:6} {rate.words}")
    return 0


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value
