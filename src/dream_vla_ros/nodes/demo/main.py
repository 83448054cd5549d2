"""Drive the simulated arm by language goals over a real ROS graph, and show what happened.

Simulation, controller and policy run as separate processes. Goals go through the real action client. What
was measured is printed and written to the output folder: summary.json, demo.mp4, ee_path.png, demo.png and
the nodes' logs.

exit status: 0 when the graph worked (and, with --expert, every task was reached); 1 otherwise; 130 when
interrupted.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from dream_vla_ros.nodes.cli.main import explain_missing_ros
from dream_vla_ros.nodes.cli.progress import ProgressLine
from dream_vla_ros.nodes.demo.settings import Actor, PlanSettings, SessionSettings
from dream_vla_ros.nodes.policy.untrained import OBJECTIVES, untrained_tabletop_checkpoint
from dream_vla_ros.nodes.resources import TABLETOP_LAYOUT, is_untrained, trained_tabletop_checkpoint

# What only checkpoints have that were trained to answer questions.
CALIBRATION = "grounding_calibration.json"
TASKS = ("pick up the red block", "put the red block on the blue one", "push the green block to the left")
PLAN_TASKS = (
    "stack red on blue and blue on green",
    "put the yellow block on the red one, then pick up the blue block",
)
# Random weights never finish, so their goals are kept short.
UNTRAINED_LIMIT_S = 12.0
LIMIT_S = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo.

    :param argv: Arguments, ``sys.argv[1:]`` by default.
    :returns: The exit status.
    """
    arguments = _parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    progress = ProgressLine(sys.stdout)
    try:
        return _run(arguments, progress)
    except KeyboardInterrupt:
        progress.end()
        print("interrupted; everything was stopped")
        return 130
    except ImportError as error:
        progress.end()
        print(f"error: {explain_missing_ros(error)}", file=sys.stderr)
        return 1
    except (RuntimeError, FileNotFoundError, ValueError) as error:
        progress.end()
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--expert", action="store_true", help="let the scripted expert act, not a model")
    parser.add_argument(
        "--checkpoint", type=Path, help="checkpoint to run (default: models/tabletop, or random weights)"
    )
    parser.add_argument(
        "--untrained", action="store_true", help="random weights, also where models/tabletop is trained"
    )
    parser.add_argument("--objective", choices=OBJECTIVES, default=OBJECTIVES[0], help="of the checkpoint")
    parser.add_argument("--device", default="auto", help="torch device of the policy (default: auto)")
    parser.add_argument("--tasks", nargs="+", metavar="TEXT", help="goals in words")
    parser.add_argument(
        "--plan", action="store_true", help="tasks of several steps, through the planner's action"
    )
    parser.add_argument(
        "--plan-mode",
        choices=("planner", "grounder"),
        default="grounder",
        help="with --plan (default: grounder)",
    )
    parser.add_argument(
        "--planner-checkpoint",
        type=Path,
        help="with --plan: who answers and plans (default: the checkpoint where it was trained to, else the "
        "simulation's own state)",
    )
    parser.add_argument("--time-limit", type=_positive, metavar="S", help="longest time for each goal [s]")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and of random weights")
    parser.add_argument("--image-size", type=int, default=224, metavar="PX", help="side of camera images")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to (default: out)")
    parser.add_argument("--no-video", action="store_true", help="write no video")
    return parser


def _run(arguments: argparse.Namespace, progress: ProgressLine) -> int:
    began = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    actor = _choose_actor(arguments, progress)
    print(f"policy: {actor.name}, objective {actor.objective}")
    if actor.untrained:
        print("UNTRAINED: the weights are random. The whole graph runs, but no task will succeed.")
    # Heavy imports come after the first words, so that a newcomer sees that something happens.
    from dream_vla_ros.nodes.demo.outputs import write_outputs
    from dream_vla_ros.nodes.demo.session import run_session

    plan = _choose_planner(arguments, actor)
    if plan is not None:
        print(f"planner: {plan.who}, mode {plan.mode}")
    tasks = tuple(arguments.tasks or (TASKS if plan is None else PLAN_TASKS))
    limit_s = arguments.time_limit or (UNTRAINED_LIMIT_S if actor.untrained else LIMIT_S)
    settings = SessionSettings(
        tasks, limit_s, arguments.seed, arguments.image_size, arguments.device, arguments.out, plan
    )
    summary, recording = run_session(actor, settings, progress)
    print()
    print(summary.tables())
    print()
    write_outputs(summary, recording, arguments.out, video=not arguments.no_video, progress=progress)
    return _conclude(summary.problems(), actor, arguments.out, time.monotonic() - began)


def _conclude(problems: Sequence[str], actor: Actor, out: Path, took_s: float) -> int:
    for problem in problems:
        print(f"PROBLEM: {problem}")
    verdict = "the graph did not work as it must" if problems else "the graph worked"
    if actor.untrained:
        verdict += "; the weights are UNTRAINED, so no task was expected to succeed"
    print(f"{verdict} ({took_s:.0f} s, results in {out}/)")
    return 1 if problems else 0


def _choose_actor(arguments: argparse.Namespace, progress: ProgressLine) -> Actor:
    if arguments.expert:
        return Actor("dream_vla_ros.nodes.policy.expert_node", "scripted expert", "scripted")
    module, objective = "dream_vla_ros.nodes.policy.node", arguments.objective
    folder = arguments.checkpoint or trained_tabletop_checkpoint()
    if folder is None or arguments.untrained:
        progress.show("writing random weights")
        folder = untrained_tabletop_checkpoint(arguments.out, objective, arguments.seed)
        progress.end()
        return Actor(module, TABLETOP_LAYOUT, objective, folder.resolve(), untrained=True)
    if not folder.is_dir():
        raise FileNotFoundError(f"--checkpoint {folder}: no such folder")
    return Actor(module, folder.name, objective, folder.resolve(), is_untrained(folder))


def _choose_planner(arguments: argparse.Namespace, actor: Actor) -> PlanSettings | None:
    if not arguments.plan:
        return None
    folder = arguments.planner_checkpoint
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"--planner-checkpoint {folder}: no such folder")
    if folder is None and actor.checkpoint is not None and (actor.checkpoint / CALIBRATION).is_file():
        folder = actor.checkpoint
    return PlanSettings(arguments.plan_mode, None if folder is None else folder.resolve())


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"{text} is not a length of time")
    return value


if __name__ == "__main__":
    sys.exit(main())
