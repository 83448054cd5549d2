"""Tests of what the policy node's threads share about one goal."""

from __future__ import annotations

import threading
import time

import pytest

from dream_vla_ros.nodes.outcome import Outcome, Progress
from dream_vla_ros.nodes.policy.goal import GoalRequest, GoalRun


def make_run(on_end=lambda run: None):
    return GoalRun(GoalRequest(b"g" * 16, "go", "", 10.0, 0, time.monotonic_ns()), on_end)


def test_first_outcome_stays_and_is_told_once():
    told = []
    run = make_run(told.append)
    assert run.running
    assert run.end(Outcome.CANCELED, "canceled")
    assert not run.end(Outcome.TIME_LIMIT, "too late")
    assert run.outcome == (Outcome.CANCELED, "canceled")
    assert told == [run]
    elapsed = run.elapsed_s
    assert run.elapsed_s == elapsed, "time goes on after the end"


def test_outcome_is_known_when_it_is_told():
    seen = []
    run = make_run(lambda ended: seen.append(ended.outcome))
    run.end(Outcome.FAULT, "broken")
    assert seen == [(Outcome.FAULT, "broken")]


def test_nothing_is_sent_after_the_end():
    run, sent = make_run(), []
    assert run.publish(lambda: sent.append(1), 0.1)
    run.end(Outcome.CANCELED)
    assert not run.publish(lambda: sent.append(2), 0.1)
    assert sent == [1]
    assert run.chunks == 1
    assert run.latency_s == pytest.approx(0.1)


def test_end_waits_for_a_chunk_that_is_being_sent():
    """Otherwise the goal would be withdrawn first and its chunk follow."""
    run, order = make_run(lambda _: order.append("told")), []
    sending, go_on = threading.Event(), threading.Event()

    def send():
        sending.set()
        assert go_on.wait(5.0)
        order.append("sent")

    publishing = threading.Thread(target=run.publish, args=(send, 0.1))
    publishing.start()
    assert sending.wait(5.0)
    ending = threading.Thread(target=run.end, args=(Outcome.CANCELED,))
    ending.start()
    go_on.set()
    publishing.join(5.0)
    ending.join(5.0)
    assert order == ["sent", "told"]


def test_waiting_is_told_only_when_it_lasts():
    run = make_run()
    assert run.progress() == (Progress.PREDICTING, "")
    run.wait_for("no image")
    assert run.progress() == (Progress.PREDICTING, "")
    deadline = time.monotonic() + 5.0
    while run.progress()[0] is not Progress.WAITING_FOR_INPUT:
        assert time.monotonic() < deadline
    run.wait_for("still no image")
    waited_s, reason = run.waited()
    assert waited_s > 0.2, "a new reason must not start the wait again"
    assert reason == "still no image"
    run.input_came()
    assert run.waited() == (0.0, "")
    run.publish(lambda: None, 0.1)
    assert run.progress() == (Progress.EXECUTING, "")
