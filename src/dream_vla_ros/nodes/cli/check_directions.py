"""Move the arm 2 cm along each axis of its base, slowly, and compare what was asked for with what came.

Launch the robot with policy:=false first. Each motion is named before it is made and asked for; keep a hand
at the emergency stop. Afterwards you are asked what you saw, since a driver and its own measurement can be
wrong together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from dream_vla_ros.nodes.cli.options import add_graph_options

if TYPE_CHECKING:
    from dream_vla_ros.embodiment import Embodiment
    from dream_vla_ros.nodes.cli.direction_check import DirectionCheck
    from dream_vla_ros.nodes.cli.direction_verdict import Probe

EXIT_WRONG = 3
_YES = ("", "y", "yes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "robot", help="a name in config/ (tabletop, widowx, franka) or a parameter file's path"
    )
    parser.add_argument("--rotations", action="store_true", help="also turn by 0.1 rad about each axis")
    parser.add_argument(
        "--yes", action="store_true", help="do not ask, neither before nor after a motion: for simulations"
    )
    add_graph_options(parser)


def run(arguments: argparse.Namespace, ask: Callable[[str], str] = input) -> int:
    """Carry out the command.

    :param ask: Puts a question and returns the answer.
    :returns: The exit status: 0 when all motions were right, 3 when one was wrong, 1 when none could be made.
    """
    from dream_vla_ros.embodiment import Embodiment
    from dream_vla_ros.nodes.cli.direction_check import DirectionCheck, MotionRefusedError
    from dream_vla_ros.nodes.resources import robot_config
    from dream_vla_ros.nodes.spinning_node import NotReadyError
    from dream_vla_ros.parameters import ParameterError

    try:
        embodiment = Embodiment.from_file(robot_config(arguments.robot))
        with DirectionCheck(embodiment, namespace=arguments.namespace, ros_args=arguments.ros_args) as check:
            check.wait_until_ready(arguments.timeout)
            asked = (lambda _: "y") if arguments.yes else ask
            wrong = _try_all(check, embodiment, arguments.rotations, asked)
    except (NotReadyError, MotionRefusedError, ParameterError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nended; the arm is held", file=sys.stderr)
        return 1
    print("every motion was right" if not wrong else f"wrong: {', '.join(wrong)}")
    return EXIT_WRONG if wrong else 0


def _try_all(
    check: DirectionCheck, embodiment: Embodiment, rotations: bool, ask: Callable[[str], str]
) -> list[str]:
    from dream_vla_ros.nodes.cli.direction_verdict import choose

    wrong = []
    for turning in (False, True) if rotations else (False,):
        for axis in range(3):
            probe = choose(turning, axis, check.measured().position, embodiment.limits)
            if probe is None:
                wrong.append(f"{'turn ' if turning else ''}{'xyz'[axis]} (not tried)")
                print(
                    "no room within limits.workspace_min and workspace_max: drive the arm to its middle first"
                )
            elif not _try(check, probe, ask):
                wrong.append(probe.name)
    return wrong


def _try(check: DirectionCheck, probe: Probe, ask: Callable[[str], str]) -> bool:
    from dream_vla_ros.nodes.cli.direction_verdict import judge

    if ask(f"next {probe.name}: {probe.words}. Move? [Y/n] ").strip().lower() not in _YES:
        print(f"{probe.name}: left out")
        return False
    before, after = check.move(probe, lambda words: print(f"{probe.name}: the controller says: {words}"))
    moved, turned = before.motion_to(after)
    figures = ", ".join(f"{value:+.4f}" for value in (turned if probe.turning else moved))
    problem = judge(probe, before, after)
    print(f"{probe.name}: measured ({figures}) {'rad' if probe.turning else 'm'}: {problem or 'as asked'}")
    seen = ask(f"did you see that {probe.words}? [Y/n] ").strip().lower() in _YES
    if not seen:
        print(
            f"{probe.name}: seen otherwise. If the measurement agrees all the same, frames.base is not the "
            "base you look at; else the driver turns directions round. Do not go on to a policy"
        )
    check.move(probe.back())
    return seen and not problem
