"""Try a checkpoint on the simulated tabletop, as often as it takes to know.

Seeded closed-loop tries through the real policy and controller code, in simulated time and without DDS; with
--real-time through the real nodes. A try succeeds when what the words ask for holds for a second; it ends
when the policy settles or the time is up. Intervals are Wilson's of 95 %.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dream_vla_ros.nodes.cli.progress import ProgressLine
from dream_vla_ros.nodes.resources import TABLETOP, robot_config, trained_tabletop_checkpoint
from dream_vla_ros.policy.settings import ObjectiveName

if TYPE_CHECKING:
    from dream_vla_ros.training.evaluation import Plan

KINDS = ("pick", "stack", "push")
CONDITION_NAMES = ("standard", "two_blocks", "five_blocks", "camera", "light", "words")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--checkpoint", type=Path, help="checkpoint folder (default: models/tabletop)")
    parser.add_argument(
        "--objective",
        default=ObjectiveName.FLOW_MATCHING.value,
        choices=[one.value for one in ObjectiveName],
        help="what the checkpoint was trained with (default: %(default)s)",
    )
    parser.add_argument(
        "--task", nargs="+", default=["all"], choices=["all", *KINDS], help="kinds of task (default: all)"
    )
    parser.add_argument("--episodes", type=count_of, default=200, help="tries of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of the first scene (default: far from training's)")
    parser.add_argument(
        "--condition",
        nargs="+",
        default=["standard"],
        choices=["all", *CONDITION_NAMES],
        help="scenes as in the demonstrations, or with one thing that training never saw (default: standard)",
    )
    parser.add_argument(
        "--wrong",
        action="store_true",
        help="language control: make scenes for other blocks than the words speak of, and say what is obeyed",
    )
    parser.add_argument(
        "--until-settled",
        action="store_true",
        help="go on after success until the policy settles, as a goal without a success question does",
    )
    parser.add_argument(
        "--time-limit", type=float, default=20.0, metavar="S", help="of a try (default: %(default)s s)"
    )
    parser.add_argument("--latency", type=float, default=0.1, metavar="S", help="of a prediction [s]")
    parser.add_argument("--real-time", action="store_true", help="through the real nodes, at their own speed")
    parser.add_argument("--workers", type=count_of, default=1, help="processes to share the tries")
    parser.add_argument("--out", type=Path, help="file for one JSON line per try")
    parser.add_argument("--videos", type=Path, metavar="FOLDER", help="write videos of failures")
    parser.add_argument(
        "--videos-each",
        type=count_of,
        default=3,
        metavar="N",
        help="of each kind and condition (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate.

    :returns: The exit status.
    """
    from dream_vla_ros.training.evaluation import FIRST_SEED, Plan, save_records
    from dream_vla_ros.training.evaluation_table import obedience_table, success_table

    checkpoint = arguments.checkpoint or trained_tabletop_checkpoint()
    if checkpoint is None or not checkpoint.is_dir():
        given = arguments.checkpoint or "models/tabletop"
        print(f"error: no checkpoint {given}: give a folder with --checkpoint", file=sys.stderr)
        return 1
    plan = Plan(
        kinds=KINDS if "all" in arguments.task else tuple(dict.fromkeys(arguments.task)),
        episodes=arguments.episodes,
        seed=FIRST_SEED if arguments.seed is None else arguments.seed,
        conditions=(
            CONDITION_NAMES if "all" in arguments.condition else tuple(dict.fromkeys(arguments.condition))
        ),
        wrong=arguments.wrong,
        latency_s=arguments.latency,
        time_limit_s=arguments.time_limit,
        until_settled=arguments.until_settled,
        objective=ObjectiveName(arguments.objective),
    )
    progress = ProgressLine(sys.stderr)
    try:
        records = _tried(arguments, checkpoint, plan, progress)
    except (RuntimeError, ValueError) as error:
        progress.end()
        print(f"error: {error}", file=sys.stderr)
        return 1
    progress.end()
    if arguments.out is not None:
        save_records(arguments.out, records)
    print(obedience_table(records) if plan.wrong else success_table(records))
    if arguments.videos is not None and not arguments.real_time:
        _film(arguments, checkpoint, plan, records)
    return 0


def _tried(
    arguments: argparse.Namespace, checkpoint: Path, plan: Plan, progress: ProgressLine
) -> list[dict[str, Any]]:
    def show(done: int, total: int, last: dict[str, Any]) -> None:
        progress.show(f"tried {done} of {total}: {last['instruction']}")

    if arguments.real_time:
        from dream_vla_ros.nodes.evaluation import evaluate_in_real_time

        return evaluate_in_real_time(checkpoint, plan, progress=show)
    from dream_vla_ros.embodiment import Embodiment
    from dream_vla_ros.training.evaluation import evaluate

    embodiment = Embodiment.from_file(robot_config(TABLETOP))
    return evaluate(checkpoint, embodiment, plan, workers=arguments.workers, progress=show)


def _film(arguments: argparse.Namespace, checkpoint: Path, plan: Plan, records: list[dict[str, Any]]) -> None:
    from dream_vla_ros.embodiment import Embodiment
    from dream_vla_ros.training.evaluation import failures, film

    chosen = failures(plan, records, arguments.videos_each)
    embodiment = Embodiment.from_file(robot_config(TABLETOP))
    written = film(checkpoint, embodiment, plan, chosen, arguments.videos, workers=arguments.workers)
    print(f"{len(written)} videos of failures in {arguments.videos}/")


def count_of(text: str) -> int:
    """Read a number of at least 1, as an argument's type."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value
