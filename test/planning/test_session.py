from __future__ import annotations

import pytest

from dream_vla_ros.planning.belief import Belief
from dream_vla_ros.planning.errors import PlannerError, PlanningError
from dream_vla_ros.planning.outcomes import (
    ActionCode,
    ActionRecord,
    Progress,
    Stage,
    TaskCode,
    TaskInterrupted,
)
from dream_vla_ros.planning.session import Limits, Session
from dream_vla_ros.planning.terms import GroundAction

FAULT = ActionRecord(GroundAction("a"), ActionCode.EXECUTION_FAULT, "the arm is stuck")
DONE = ActionRecord(GroundAction("a"), ActionCode.SUCCEEDED, "done")


def test_a_policy_that_fails_again_and_again_ends_the_task():
    session = Session(Belief(), Limits(faults=3))

    def body():
        for record in (FAULT, FAULT, DONE, FAULT, FAULT, FAULT, DONE):
            session.add(record)
        raise AssertionError("not reached")

    result = session.run(body)
    assert result.code is TaskCode.EXECUTION_FAULT
    assert "3 actions in a row" in result.message
    assert "the arm is stuck" in result.message
    assert len(result.actions) == 6


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (TaskInterrupted(TaskCode.CANCELED, "by the client"), TaskCode.CANCELED, "by the client"),
        (PlannerError("out of time"), TaskCode.NO_PLAN, "planning broke off: out of time"),
    ],
)
def test_interruptions_are_outcomes(error: Exception, code: TaskCode, message: str):
    session = Session(Belief(), None)
    session.add(DONE)

    def body():
        raise error

    result = session.run(body)
    assert (result.code, result.message, result.actions) == (code, message, (DONE,))


def test_progress_is_reported_with_plan_and_last_action():
    seen: list[Progress] = []
    session = Session(Belief(), None, seen.append)
    session.enter(Stage.PLANNING)
    session.enter(Stage.EXECUTING, [GroundAction("a"), GroundAction("b")])
    session.add(DONE)
    session.enter(Stage.GROUNDING)
    assert [(p.stage, p.step, len(p.plan), p.last) for p in seen] == [
        (Stage.PLANNING, 0, 0, None),
        (Stage.EXECUTING, 0, 2, None),
        (Stage.GROUNDING, 1, 2, DONE),
    ]


@pytest.mark.parametrize("limit", ["steps", "faults", "looks"])
def test_limits_are_at_least_one(limit: str):
    with pytest.raises(PlanningError, match=limit):
        Limits(**{limit: 0})
