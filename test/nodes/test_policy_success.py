"""Tests of asking the planner whether a goal has been reached."""

from __future__ import annotations

import math
import time

import pytest
from rclpy.task import Future

from dream_vla_msgs.msg import GroundingAnswer
from dream_vla_msgs.srv import GroundPredicates
from dream_vla_ros.nodes.conversions import time_to_msg
from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.nodes.policy import success as policy_success
from dream_vla_ros.nodes.policy.goal import GoalRequest, GoalRun
from dream_vla_ros.nodes.policy.success import SuccessQuestion

ACCEPTED_NS = 10**12
YES, NO, UNKNOWN = GroundingAnswer.YES, GroundingAnswer.NO, GroundingAnswer.UNKNOWN


class Planner:
    """The client's side of a planner: keeps requests and answers them when told to."""

    def __init__(self):
        self.ready = True
        self.requests = []
        self.pending = []

    def service_is_ready(self):
        return self.ready

    def call_async(self, request):
        self.requests.append(request)
        self.pending.append(Future())
        return self.pending[-1]

    def remove_pending_request(self, future):
        self.pending.remove(future)

    def answer(self, answer, *, success=True, stamp_ns=ACCEPTED_NS + 1, probability=0.8):
        response = GroundPredicates.Response(success=success)
        response.answers = [
            GroundingAnswer(answer=answer, probability=probability, image_stamp=time_to_msg(stamp_ns))
        ]
        self.pending.pop().set_result(response)


@pytest.fixture
def run():
    request = GoalRequest(b"g" * 16, "go", "Is it up?", 0.0, ACCEPTED_NS, time.monotonic_ns())
    made = GoalRun(request, lambda _: None)
    made.publish(lambda: None, 0.1)
    return made


@pytest.fixture
def planner():
    return Planner()


def ask_again(question, planner):
    before = len(planner.requests)
    question.tick()
    assert len(planner.requests) == before + 1


def test_question_is_asked_in_its_own_words_and_one_at_a_time(run, planner):
    question = SuccessQuestion(planner, run, 0.0, 2)
    question.tick()
    question.tick()
    assert [request.questions for request in planner.requests] == [["Is it up?"]]


def test_nothing_is_asked_before_the_first_chunk(planner):
    request = GoalRequest(b"g" * 16, "go", "Is it up?", 0.0, ACCEPTED_NS, time.monotonic_ns())
    SuccessQuestion(planner, GoalRun(request, lambda _: None), 0.0, 1).tick()
    assert not planner.requests


def test_period_between_questions_is_kept(run, planner):
    question = SuccessQuestion(planner, run, 60.0, 1)
    ask_again(question, planner)
    planner.answer(NO)
    question.tick()
    assert len(planner.requests) == 1


@pytest.mark.parametrize(
    ("answers", "succeeds"),
    [([YES], False), ([YES, YES], True), ([YES, NO, YES], False), ([YES, UNKNOWN, YES], False)],
)
def test_only_yes_in_a_row_counts(run, planner, answers, succeeds):
    question = SuccessQuestion(planner, run, 0.0, 2)
    for answer in answers:
        ask_again(question, planner)
        planner.answer(answer)
    assert (run.outcome is not None and run.outcome[0] is Outcome.SUCCEEDED) == succeeds
    assert run.success_probability == pytest.approx(0.8)


@pytest.mark.parametrize("spoilt", [{"stamp_ns": ACCEPTED_NS - 1}, {"success": False}])
def test_answer_about_older_images_or_without_success_is_none(run, planner, spoilt):
    question = SuccessQuestion(planner, run, 0.0, 1)
    ask_again(question, planner)
    planner.answer(YES, **spoilt)
    assert run.running
    assert math.isnan(run.success_probability)


def test_question_that_is_never_answered_is_asked_again(run, planner, monkeypatch):
    monkeypatch.setattr(policy_success, "_ANSWER_TIMEOUT_S", 0.0)
    question = SuccessQuestion(planner, run, 0.0, 1)
    question.tick()
    question.tick()
    assert len(planner.requests) == 2
    assert len(planner.pending) == 1


def test_planner_that_went_away_is_not_asked(run, planner):
    planner.ready = False
    SuccessQuestion(planner, run, 0.0, 1).tick()
    assert not planner.requests


def test_closed_question_hears_no_late_answer(run, planner):
    question = SuccessQuestion(planner, run, 0.0, 1)
    question.tick()
    (late,) = planner.pending
    question.close()
    assert not planner.pending
    planner.pending.append(late)
    planner.answer(YES)
    assert run.running
