"""Carry out a language instruction and watch it; Ctrl-C cancels it and waits until the arm is held.

exit status: 0 succeeded, or settled without a success question; 3 time limit; 4 cancelled by someone else;
5 preempted; 6 emergency stop; 7 stale input; 8 fault; 9 refused; 10 shutdown; 11 policy lost; 12 settled
without a yes to the success question; 1 nothing to talk to; 130 cancelled with Ctrl-C.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from dream_vla_ros.nodes.cli.options import add_graph_options, client_options
from dream_vla_ros.nodes.cli.progress import ProgressLine
from dream_vla_ros.nodes.outcome import Feedback, Outcome, Result

if TYPE_CHECKING:
    from dream_vla_ros.nodes.client.robot import DreamVLA

EXIT_SETTLED_WITHOUT_YES = 12
_REFRESH_S = 0.1
# How long the arm may take from the end of its goal to a hold; ramps take tenths of a second.
_HOLD_TIMEOUT_S = 5.0
# How long a policy may take to end a cancelled goal: the inference in progress may have to end first.
_CANCEL_TIMEOUT_S = 10.0


class _Interrupted(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("instruction", help='what to do, for example "pick up the red block"')
    parser.add_argument(
        "--time-limit",
        type=_time_limit,
        default=0.0,
        metavar="S",
        help="longest time it may take [s] (default: the policy's own)",
    )
    parser.add_argument(
        "--success-question",
        default="",
        metavar="TEXT",
        help="yes/no question whose repeated yes ends the goal, "
        'for example "Is the red block in the gripper?"; needs a planner',
    )
    parser.add_argument("--quiet", action="store_true", help="print the outcome only")
    add_graph_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    :returns: The exit status.
    """
    from dream_vla_ros.nodes.client.robot import DreamVLA, NotReadyError

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    progress = ProgressLine(sys.stdout, enabled=not arguments.quiet)
    try:
        with DreamVLA(**client_options(arguments)) as robot:
            try:
                robot.send(
                    arguments.instruction,
                    time_limit_s=arguments.time_limit,
                    success_question=arguments.success_question,
                    ready_timeout_s=arguments.timeout,
                )
                while not robot.wait(timeout_s=_REFRESH_S):
                    if robot.feedback is not None:
                        progress.show(describe(robot.feedback, arguments.time_limit))
            except _Interrupted as interrupted:
                progress.end()
                return _after_interruption(robot, interrupted.number)
    except NotReadyError as error:
        progress.end()
        print(f"error: {error}", file=sys.stderr)
        return 1
    except _Interrupted as interrupted:
        return 128 + interrupted.number
    progress.end()
    result = robot.result or Result(Outcome.UNKNOWN, "the policy gave no result")
    print(sentence(result))
    return exit_status(result.outcome, asked=bool(arguments.success_question))


def describe(feedback: Feedback, time_limit_s: float = 0.0) -> str:
    """Write feedback as one line.

    :param time_limit_s: Shown beside the elapsed time; zero leaves it out.
    """
    limit = f" of {time_limit_s:g}" if time_limit_s else ""
    parts = [f"{feedback.progress.words:<17} {feedback.elapsed_s:5.1f}{limit} s  chunks {feedback.chunks:>3}"]
    if feedback.chunks:
        parts.append(f"latency {1000 * feedback.latency_s:.0f} ms")
    if feedback.pose is not None:
        parts.append("at ({:.3f}, {:.3f}, {:.3f}) m".format(*feedback.pose.position))
    if not math.isnan(feedback.success_probability):
        parts.append(f"yes {feedback.success_probability:.2f}")
    if feedback.message:
        parts.append(feedback.message)
    return "  ".join(parts)


def sentence(result: Result) -> str:
    """Write a result as one line."""
    chunks = f"{result.chunks} chunk{'' if result.chunks == 1 else 's'}"
    return f"{result}  ({result.duration_s:.1f} s, {chunks})"


def exit_status(outcome: Outcome, *, asked: bool) -> int:
    """Return the exit status for an outcome.

    :param asked: Whether a success question was given.
    """
    if outcome is Outcome.SUCCEEDED:
        return 0
    if outcome is Outcome.SETTLED:
        return EXIT_SETTLED_WITHOUT_YES if asked else 0
    if outcome is Outcome.POLICY_LOST:
        return 11
    return 1 if outcome is Outcome.UNKNOWN else int(outcome)


def _after_interruption(robot: DreamVLA, number: int) -> int:
    if robot.is_done():
        return 128 + number
    print("cancelling; interrupt again to leave without waiting", flush=True)
    robot.cancel()
    robot.wait(timeout_s=_CANCEL_TIMEOUT_S)
    print(
        sentence(robot.result) if robot.result else "warning: the policy has not ended the goal", flush=True
    )
    if robot.wait_until_still(timeout_s=_HOLD_TIMEOUT_S):
        print("the arm is held")
    else:
        print("warning: the controller reports no hold; if the arm moves, press the stop: dream_vla stop")
    return 128 + number


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _Interrupted(number)


def _time_limit(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"{text} is not a length of time")
    return value
