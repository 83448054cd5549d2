"""What the safety layers did, counted."""

from __future__ import annotations

import pytest
from control_bench import SECOND, Bench, embodiment, executing, ready

from dream_vla_ros.control import Cause, Reason
from dream_vla_ros.control.tally import LAYERS, SafetyTally


def acted(tally: SafetyTally) -> set[str]:
    return {report.name for report in tally.reports() if report.acted}


def play(bench: Bench, ticks: int = 1) -> SafetyTally:
    tally = SafetyTally()
    for _ in range(ticks):
        tally.tick(bench.tick())
    return tally


def test_ordinary_motion_acts_on_nothing():
    assert acted(play(executing(), 20)) == set()


@pytest.mark.parametrize(
    ("cause", "layer"),
    [
        (Cause.CHUNK_INVALID, "chunk contents"),
        (Cause.CHUNK_LATE, "chunk age and order"),
        (Cause.CHUNK_FUTURE, "chunk age and order"),
        (Cause.ADAPTER, "faults"),
        (Cause.FAULT, "faults"),
    ],
)
def test_refusals_and_faults_count_for_their_layer(cause, layer):
    tally = SafetyTally()
    tally.refuse(Reason(cause, "why"))
    tally.refuse(Reason(cause, "why once more"))
    report = next(report for report in tally.reports() if report.name == layer)
    assert (report.acted, report.count, report.message) == (True, 2, "why once more")
    again = next(report for report in tally.reports() if report.name == layer)
    assert (again.acted, again.count, again.message) == (False, 2, "why once more")


def test_the_stop_and_a_stale_state_count_while_they_last():
    bench = executing()
    bench.controller.stop("the red button")
    tally = play(bench, 5)
    stop = next(report for report in tally.reports() if report.name == "emergency stop")
    assert (stop.halting, stop.count, stop.message) == (True, 5, "the red button")
    bench = executing()
    bench.measuring = False
    bench.ros_ns += SECOND
    bench.steady_ns += SECOND
    assert "state age" in acted(play(bench))


def test_what_shapes_motion_counts():
    bench = ready()
    bench.give((0.0, 0.0, 0.06))
    assert acted(play(bench, 80)) == {"workspace", "motion limits"}
    bench = ready(follow=0.0)
    bench.give((0.02, 0.0, 0.0))
    assert acted(play(bench, 60)) == {"leash"}
    bench = ready(robot=embodiment(limits__tool_axis=[0.0, 0.0, 1.0], limits__cone_angle=0.2))
    bench.give(rotation=(0.1, 0.0, 0.0), gripper=[1, 1, 1, 0, 0, 0, 0, 0])
    assert acted(play(bench, 60)) == {"orientation cone", "gripper rules"}


def test_every_layer_is_reported_in_order():
    assert tuple(report.name for report in SafetyTally().reports()) == LAYERS
