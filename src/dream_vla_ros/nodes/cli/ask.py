"""Ask the planner yes/no questions about what the cameras see now.

A question in brackets is a predicate of the planning domain, for example "(on red blue)".

exit status: 0 yes to all; 3 a no; 4 none a no, but an answer is unknown; 9 refused; 1 nothing to talk to.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from dream_vla_ros.nodes.cli.options import add_graph_options, client_options

EXIT_NO = 3
EXIT_UNKNOWN = 4
EXIT_REFUSED = 9
_WORDS = ("no", "yes", "unknown")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "questions", nargs="+", metavar="QUESTION", help='for example "Is the red block on the blue block?"'
    )
    parser.add_argument("--domain", default="", help="planning domain of the predicates")
    add_graph_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    :returns: The exit status.
    """
    from dream_vla_ros.nodes.planner.client import PlannerClient
    from dream_vla_ros.nodes.spinning_node import NotReadyError

    predicates = [text for text in arguments.questions if text.lstrip().startswith("(")]
    questions = [text for text in arguments.questions if text not in predicates]
    try:
        with PlannerClient(**client_options(arguments)) as planner:
            response = planner.ask(
                questions, predicates, domain=arguments.domain, timeout_s=arguments.timeout
            )
    except NotReadyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not response.success:
        print(f"refused: {response.message}")
        return EXIT_REFUSED
    for answer in response.answers:
        print(sentence(answer))
    codes = {answer.answer for answer in response.answers}
    return EXIT_NO if 0 in codes else EXIT_UNKNOWN if codes != {1} else 0


def sentence(answer: Any) -> str:
    """Write a ``GroundingAnswer`` as one line."""
    parts = [_WORDS[answer.answer] if answer.answer < len(_WORDS) else str(answer.answer)]
    if not math.isnan(answer.probability):
        parts.append(f"({answer.probability:.0%} yes{'' if answer.calibrated else ', uncalibrated'})")
    if answer.message:
        # Where it is from says more than whether it is calibrated.
        parts = [parts[0], f"({answer.message})"]
    return f"{answer.query}  {' '.join(parts)}"
