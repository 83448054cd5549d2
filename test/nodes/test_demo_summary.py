"""Tests of the demo's figures and of its judgement of the graph."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2; source a distribution or run `make setup`")

from dream_vla_ros.nodes.demo.run import GoalReport
from dream_vla_ros.nodes.demo.summary import Summary
from dream_vla_ros.nodes.outcome import Outcome, Result
from dream_vla_ros.report.statistics import RateStatistics

GOOD_GOAL = GoalReport(
    "put the red block on the blue one",
    Result(Outcome.SETTLED, "no motion", 8.9, 12),
    True,
    [0.1, 0.2, 0.3],
    12,
    0,
    8.0,
    0.4,
    0.1,
)
GOOD = Summary(
    "scripted expert",
    "scripted",
    False,
    True,
    [GOOD_GOAL],
    {"third_person": RateStatistics(100, 15.0, 0.01, 0.09), "wrist": RateStatistics(100, 14.0, 0.01, 0.09)},
    15.0,
    RateStatistics(400, 50.0, 0.001, 0.03),
    50.0,
)
SILENT = RateStatistics(0, math.nan, math.nan, math.nan)


def with_goal(**changes):
    return replace(GOOD, goals=[replace(GOOD_GOAL, **changes)])


def test_a_graph_that_works_has_no_problems():
    assert GOOD.problems() == []


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        (replace(GOOD, cameras={"wrist": SILENT}), "camera wrist sent nothing"),
        (replace(GOOD, cameras={"wrist": RateStatistics(9, 4.0, 0.1, 0.5)}), "camera wrist sent at 4.0 Hz"),
        (replace(GOOD, cameras={"wrist": RateStatistics(1, math.nan, math.nan, math.nan)}), "camera wrist"),
        (replace(GOOD, commands=SILENT), "no commands"),
        (replace(GOOD, commands=RateStatistics(90, 31.0, 0.1, 0.5)), "commands came at 31.0 Hz"),
        (with_goal(result=Result(Outcome.POLICY_LOST, "it died")), "policy lost: it died"),
        (with_goal(result=Result(Outcome.FAULT, "bad")), "fault: bad"),
        (with_goal(latencies_s=[]), "got no action chunk"),
        (with_goal(chunks_accepted=0), "no chunk of"),
        (with_goal(reached=False), "expert did not reach"),
        (with_goal(reached=None), "expert did not reach"),
    ],
)
def test_what_does_not_work_is_named(summary, words):
    problems = summary.problems()
    assert len(problems) == 1
    assert words in problems[0]


def test_a_model_need_not_succeed_for_the_graph_to_work():
    model = replace(with_goal(reached=False, result=Result(Outcome.TIME_LIMIT, "12 s")), expert=False)
    assert model.problems() == []


def test_tables_fit_a_terminal_and_show_the_figures():
    text = GOOD.tables()
    assert max(map(len, text.splitlines())) <= 100
    assert "200 / 290 ms" in text
    assert "14.0 Hz" in text
    assert "0.40 s" in text
    assert "yes" in text
    assert "-" in replace(GOOD, goals=[], commands=SILENT).tables()


def test_json_holds_the_same():
    data = json.loads(json.dumps(replace(GOOD, commands=SILENT).as_json(), allow_nan=False))
    assert data["goals"][0]["outcome"] == "SETTLED"
    assert data["goals"][0]["reached"] is True
    assert data["goals"][0]["latency_p50_s"] == pytest.approx(0.2)
    assert data["commands"]["rate_hz"] is None
    assert data["problems"] == ["the controller sent no commands"]
