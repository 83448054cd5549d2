"""Plan a task of several steps, and carry it out if told to; Ctrl-C cancels it and stops the arm.

The goal is in words, in predicates of the planning domain (--goal), or both.

exit status: 0 a plan was found (with --execute: the goal was reached); 2 steps exhausted; 3 no plan;
4 cancelled by someone else; 5 emergency stop; 6 execution fault; 7 stale input; 9 refused; 10 shutdown;
1 nothing to talk to; 130 cancelled with Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType
from typing import Any

from dream_vla_ros.nodes.cli.options import add_graph_options, client_options
from dream_vla_ros.nodes.cli.progress import ProgressLine

_STATES = ("waiting for images", "grounding", "planning", "executing")
_ENDS = {2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 9, 9: 10}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "task", nargs="?", default="", help='for example "stack red on blue and blue on green"'
    )
    parser.add_argument(
        "--goal", nargs="+", default=[], metavar="PREDICATE", help='for example "(on red blue)"'
    )
    parser.add_argument("--execute", action="store_true", help="carry the task out; the arm moves")
    parser.add_argument("--mode", choices=("planner", "grounder"), help="default: the planner node's own")
    parser.add_argument("--domain", default="", help="planning domain; default: the planner node's own")
    parser.add_argument("--max-steps", type=int, default=0, metavar="N", help="most actions to try")
    parser.add_argument("--quiet", action="store_true", help="print plan and outcome only")
    add_graph_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    :returns: The exit status.
    """
    from dream_vla_ros.nodes.planner.client import PlannerClient
    from dream_vla_ros.nodes.planner.parameters import Mode
    from dream_vla_ros.nodes.spinning_node import NotReadyError

    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    progress = ProgressLine(sys.stdout, enabled=not arguments.quiet)
    asked: dict[str, Any] = {
        "domain": arguments.domain,
        "mode": Mode(arguments.mode) if arguments.mode else None,
        "timeout_s": arguments.timeout,
    }
    try:
        with PlannerClient(**client_options(arguments)) as planner:
            if arguments.execute:
                teller = _Teller(progress)
                result = planner.execute(
                    arguments.task,
                    arguments.goal,
                    max_steps=arguments.max_steps,
                    on_feedback=teller.tell,
                    **asked,
                )
                teller.rest(result.actions)
            else:
                result = planner.plan(
                    arguments.task,
                    arguments.goal,
                    on_feedback=lambda f: progress.show(_stage(f)),
                    **asked,
                )
                progress.end()
                for number, action in enumerate(result.plan, start=1):
                    print(f"{number}. {words(action)}")
    except NotReadyError as error:
        progress.end()
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress.end()
        print("cancelled; the arm was told to stop")
        return 130
    progress.end()
    reached = result.outcome.code == 1
    message = result.outcome.message
    if reached:
        message = "goal reached" if arguments.execute else "" if result.plan else "nothing is left to do"
    if message:
        print(message)
    return 0 if reached else _ENDS.get(result.outcome.code, 1)


def words(action: Any) -> str:
    """Write a ``SymbolicAction`` as in ``put-on(red, blue)``."""
    return f"{action.name}({', '.join(action.arguments)})"


class _Teller:
    """Prints each action once its outcome is known."""

    def __init__(self, progress: ProgressLine) -> None:
        self._progress = progress
        self._told = 0

    def tell(self, feedback: Any) -> None:
        if feedback.step > self._told and feedback.last_action.code:
            self._say(feedback.last_action)
            self._told = feedback.step
        self._progress.show(_stage(feedback))

    def rest(self, actions: Any) -> None:
        for record in actions[self._told :]:
            self._say(record)

    def _say(self, record: Any) -> None:
        name = words(record.action) if record.action.name else "(no action)"
        self._progress.end(f"{name}: {record.message}")


def _stage(feedback: Any) -> str:
    elapsed_s = feedback.elapsed.sec + 1e-9 * feedback.elapsed.nanosec
    plan = " > ".join(words(action) for action in getattr(feedback, "plan", ()))
    state = _STATES[feedback.state] if feedback.state < len(_STATES) else str(feedback.state)
    return f"{state:<18} {elapsed_s:5.1f} s  {plan}"


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
