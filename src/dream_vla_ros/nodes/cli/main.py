"""Language goals, the state of the robot, recordings and training sets from a terminal."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

PROGRAM = "dream_vla"
EXIT_ERROR = 1


@dataclass(frozen=True)
class Command:
    """A subcommand; its module is imported only when it is used.

    :param name: The word after ``dream_vla``.
    :param summary: What it does, for the list of commands.
    :param module: Module with ``add_arguments(parser)`` and ``run(arguments) -> int``, whose docstring
        explains the command. ROS is imported in ``run``, so that ``--help`` works without.
    """

    name: str
    summary: str
    module: str


COMMANDS = (
    Command("do", "carry out a language instruction", "dream_vla_ros.nodes.cli.do"),
    Command("plan", "plan a task of several steps, and carry it out", "dream_vla_ros.nodes.cli.plan"),
    Command("ask", "ask yes/no questions about the scene", "dream_vla_ros.nodes.cli.ask"),
    Command("stop", "press the emergency stop", "dream_vla_ros.nodes.cli.stop"),
    Command("resume", "release the emergency stop", "dream_vla_ros.nodes.cli.resume"),
    Command("status", "show policy, controller and cameras", "dream_vla_ros.nodes.cli.status"),
    Command(
        "check-directions", "move 2 cm along each axis and judge", "dream_vla_ros.nodes.cli.check_directions"
    ),
    Command("record", "record demonstrations into bags", "dream_vla_ros.nodes.cli.record"),
    Command("demonstrate", "record the simulation's expert", "dream_vla_ros.nodes.cli.demonstrate"),
    Command("keyboard", "drive the arm from this terminal's keyboard", "dream_vla_ros.nodes.cli.keyboard"),
    Command("convert", "make a training set of recorded bags", "dream_vla_ros.data.cli_convert"),
    Command("inspect", "draw a bag or a training set, and warn", "dream_vla_ros.data.cli_inspect"),
    Command("finetune", "train a checkpoint on training sets", "dream_vla_ros.nodes.cli.finetune"),
    Command("evaluate", "try a checkpoint on the simulated arm", "dream_vla_ros.nodes.cli.evaluate"),
    Command(
        "evaluate-tasks",
        "try tasks of several steps",
        "dream_vla_ros.nodes.cli.evaluate_tasks",
    ),
    Command("calibrate", "calibrate a checkpoint's answers", "dream_vla_ros.nodes.cli.calibrate"),
    Command("merge", "fold a LoRA adapter into its checkpoint", "dream_vla_ros.nodes.cli.merge"),
    Command("recover", "make a whole bag of one that was cut off", "dream_vla_ros.data.cli_recover"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param argv: Arguments, ``sys.argv[1:]`` by default; what follows ``--ros-args`` goes to the ROS node.
    :returns: The exit status.
    """
    arguments, ros_args = split_ros_args(list(sys.argv[1:] if argv is None else argv))
    if not arguments or arguments[0] in ("-h", "--help"):
        _overview().print_help()
        return 0 if arguments else 2
    command = next((known for known in COMMANDS if known.name == arguments[0]), None)
    if command is None:
        near = difflib.get_close_matches(arguments[0], [known.name for known in COMMANDS], n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        print(f"error: no command '{arguments[0]}'{hint} See {PROGRAM} --help.", file=sys.stderr)
        return 2
    module = importlib.import_module(command.module)
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {command.name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    parsed = parser.parse_args(arguments[1:])
    parsed.ros_args = ros_args
    try:
        return module.run(parsed)
    except ImportError as error:
        print(f"error: {explain_missing_ros(error)}", file=sys.stderr)
        return EXIT_ERROR


def explain_missing_ros(error: ImportError) -> str:
    """Say what to do where ROS or the built messages are not on the search path.

    :raises ImportError: The error itself, if something else is missing.
    """
    if error.name is None or error.name.partition(".")[0] not in ("rclpy", "dream_vla_msgs"):
        raise error
    return (
        f"{error}. ROS 2 is not on the search path: source /opt/ros/<distribution>/setup.bash and the "
        "workspace, or '. scripts/env.sh' in the clone."
    )


def split_ros_args(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Part a command line into the program's own arguments and ROS's.

    :returns: The arguments outside and inside ``--ros-args ... [--]``.
    """
    own: list[str] = []
    ros: list[str] = []
    inside = False
    for argument in arguments:
        if argument == "--ros-args":
            inside = True
        elif inside and argument == "--":
            inside = False
        else:
            (ros if inside else own).append(argument)
    return own, ros


def _overview() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"'{PROGRAM} COMMAND --help' explains a command. ROS arguments follow --ros-args.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        commands.add_parser(command.name, help=command.summary)
    return parser


if __name__ == "__main__":
    sys.exit(main())
