"""Show once what the robot's graph is doing: policy, controller, and how regularly the cameras send.

exit status: 0 when policy, controller and every camera are there, 1 otherwise.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import TYPE_CHECKING, Any

from dream_vla_ros.nodes.cli.options import add_graph_options, client_options
from dream_vla_ros.report.statistics import RateStatistics, rate_statistics
from dream_vla_ros.report.table import number, table

if TYPE_CHECKING:
    from dream_vla_ros.nodes.cli.graph_probe import CameraSeen, GraphProbe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="how long to listen (default: 2)"
    )
    add_graph_options(parser, timeout_s=3.0)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    :returns: The exit status.
    """
    from dream_vla_ros.nodes.cli.graph_probe import GraphProbe

    with GraphProbe(**client_options(arguments)) as probe:
        probe.find(timeout_s=arguments.timeout)
        probe.hear_cameras(timeout_s=arguments.timeout)
        time.sleep(arguments.seconds)
        rows = [("policy", *_policy(probe)), ("controller", *_controller(probe))]
        print(table(("node", "state", "detail"), rows))
        print()
        cameras = [_camera(seen) for seen in probe.cameras()]
        if cameras:
            print(table(("camera", "topic", "rate", "age", "image"), cameras, right=(2, 3)))
        else:
            print("no cameras: nothing publishes images, or policy and controller name none")
        return 0 if probe.complete() else 1


def _policy(probe: GraphProbe) -> tuple[str, str]:
    goal = probe.active_goal
    if goal is None:
        return "not running", probe.lifecycle_state and f"lifecycle state {probe.lifecycle_state}"
    lifecycle = probe.lifecycle_state or "running"
    return lifecycle, f'carrying out "{goal.instruction}"' if goal.active else "no goal"


def _controller(probe: GraphProbe) -> tuple[str, str]:
    state = probe.controller_state
    if state is None:
        return "not running", ""
    modes = {
        getattr(type(state), name): name.lower().replace("_", " ")
        for name in ("IDLE", "EXECUTING", "HOLDING", "STOPPED", "NO_STATE")
    }
    parts = []
    if not math.isnan(state.measured_age):
        position = state.measured.position
        parts.append(
            f"arm at ({position.x:.3f}, {position.y:.3f}, {position.z:.3f}) m, "
            f"{1000 * state.position_error:.1f} mm from the target, "
            f"state {1000 * state.measured_age:.0f} ms old"
        )
    if state.chunk_id:
        parts.append(f"chunk {state.chunk_id} step {state.step}")
    if state.message:
        parts.append(state.message)
    return modes.get(state.mode, str(state.mode)), "; ".join(parts)


def _camera(seen: CameraSeen) -> tuple[Any, ...]:
    rates: RateStatistics = rate_statistics(seen.times_s)
    if rates.count == 0:
        return seen.name, seen.topic, "-", "-", "nothing received"
    return (
        seen.name,
        seen.topic,
        number(rates.rate_hz, 1, "Hz"),
        f"{1000 * seen.age_s:.0f} ms",
        f"{seen.description}, longest gap {number(1000 * rates.longest_gap_s, 0, 'ms')}",
    )
