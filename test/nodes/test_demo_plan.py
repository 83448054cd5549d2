"""Tests of the demo's tasks of several steps: who plans, what is told of each step, what counts as well."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2; source a distribution or run `make setup`")

from dream_vla_ros.nodes.demo.main import CALIBRATION, PLAN_TASKS, _choose_actor, _choose_planner, _parser
from dream_vla_ros.nodes.demo.plan import _predicates
from dream_vla_ros.nodes.demo.plan_report import TaskReport, TaskReports
from dream_vla_ros.nodes.demo.plan_steps import InstructionSteps
from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.nodes.planner.messages import record_to_msg, task_feedback
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.planning.outcomes import ActionCode, ActionRecord, Progress, Stage, TaskCode
from dream_vla_ros.planning.planner import ClassicalPlanner
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.terms import Atom, GroundAction, parse_literal

DONE = TaskReport(
    "stack red on blue", "grounder", TaskCode.GOAL_REACHED, "", True, 1.0, 9.5, [("put red", "succeeded")]
)
COLOURS = ("red", "green", "blue", "yellow")


def choose(checkpoint, *arguments):
    """Return who plans when the policy runs a checkpoint."""
    parsed = _parser().parse_args([*arguments, *(["--checkpoint", str(checkpoint)] if checkpoint else [])])
    return _choose_planner(parsed, _choose_actor(parsed, SimpleNamespace()))


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "trained"
    folder.mkdir()
    return folder


def test_who_plans(checkpoint, tmp_path):
    assert choose(None, "--expert") is None
    assert choose(None, "--expert", "--plan").checkpoint is None
    assert choose(checkpoint, "--plan").checkpoint is None
    (checkpoint / CALIBRATION).write_text("{}")
    # Once it was trained to answer, it does.
    assert choose(checkpoint, "--plan").checkpoint == checkpoint.resolve()
    other = tmp_path / "other"
    other.mkdir()
    assert choose(checkpoint, "--plan", "--planner-checkpoint", str(other)).checkpoint == other.resolve()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        choose(checkpoint, "--plan", "--planner-checkpoint", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("task", PLAN_TASKS)
def test_the_tasks_can_be_planned_without_reading_words(task):
    goal = [parse_literal(text) for text in _predicates(task)]
    start = frozenset(Atom(name, (colour,)) for colour in COLOURS for name in ("ontable", "clear", "onleft"))
    problem = Problem.create(load_domain("tabletop"), dict.fromkeys(COLOURS, "block"), goal, start)
    plan = ClassicalPlanner().plan(problem, start)
    assert plan
    assert len(plan) >= 2


def test_words_that_only_a_model_reads_are_left_to_it():
    assert _predicates("tidy up") == ()


def record(code, block, message=""):
    action = GroundAction("pick-up", (block,))
    return ActionRecord(action, code, message, f"pick up the {block} block", 2.0)


class Clock:
    """The part of a monitor that steps use."""

    def __init__(self):
        self.time_s = 0.0

    def now_s(self):
        self.time_s += 1.0
        return self.time_s

    def controller_of(self, goal_id):
        return None


def test_each_instruction_is_told_once_with_its_time_and_outcome():
    goals, lines = [], []
    recording = SimpleNamespace(goals=goals, chunks=SimpleNamespace(between=lambda *_: []))
    steps = InstructionSteps(Clock(), recording, lines.append)
    plan = (GroundAction("pick-up", ("red",)), GroundAction("pick-up", ("blue",)))
    red = record(ActionCode.EFFECTS_MISSING, "red", "nothing is held")
    blue = record(ActionCode.SUCCEEDED, "blue")

    def see(stage, step, last=None):
        progress = Progress(stage, step=step, plan=plan, last=last)
        steps.see(task_feedback(progress, 1.5, waiting=False))

    see(Stage.GROUNDING, 0)
    see(Stage.EXECUTING, 0)  # begins at 1 s
    see(Stage.EXECUTING, 0)
    see(Stage.GROUNDING, 1, red)  # ends at 2 s
    see(Stage.PLANNING, 1, red)
    see(Stage.EXECUTING, 1, red)
    steps.finish([record_to_msg(red), record_to_msg(blue)])
    assert [(span.began_s, span.ended_s, span.reached) for span in goals] == [
        (1.0, 2.0, False),
        (3.0, 4.0, True),
    ]
    assert [report.reached for report in steps.reports] == [False, True]
    # An instruction that was carried out has settled; what it did is told apart.
    assert {report.result.outcome for report in steps.reports} == {Outcome.SETTLED}
    assert steps.reports[0].result.message == "nothing is held"
    assert "pick-up(red) > pick-up(blue)" in lines[0]


def test_a_fault_is_no_instruction_that_settled():
    recording = SimpleNamespace(goals=[], chunks=SimpleNamespace(between=lambda *_: []))
    steps = InstructionSteps(Clock(), recording, lambda line: None)
    steps.see(task_feedback(Progress(Stage.EXECUTING, 0), 0.1, waiting=False))
    steps.finish([record_to_msg(record(ActionCode.EXECUTION_FAULT, "red", "the policy failed"))])
    assert [report.result.outcome for report in steps.reports] == [Outcome.FAULT]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"code": TaskCode.STEPS_EXHAUSTED, "message": "20 actions"}, "steps_exhausted: 20 actions"),
        ({"reached": False}, "said to be done and is not"),
    ],
)
def test_what_went_wrong_is_named(changes, words):
    assert TaskReports([DONE]).problems() == []
    (problem,) = TaskReports([DONE, replace(DONE, **changes)]).problems()
    assert words in problem


def test_reports_are_shown_and_kept(tmp_path):
    reports = TaskReports([DONE, replace(DONE, reached=None, accuracy=math.nan)])
    assert "stack red on blue" in reports.tables()
    assert all(len(line) <= 100 for line in reports.tables().splitlines())
    reports.write(tmp_path)
    first, second = json.loads((tmp_path / "plan.json").read_text())
    assert first["truly_reached"] is True
    assert first["actions"] == [{"action": "put red", "outcome": "succeeded"}]
    assert second["action_accuracy"] is None
