from __future__ import annotations

import math
import re
from enum import IntEnum
from pathlib import Path

import pytest

from dream_vla_ros.planning.outcomes import (
    ActionCode,
    ActionRecord,
    AnswerCode,
    Stage,
    TaskCode,
    TaskResult,
)
from dream_vla_ros.planning.terms import GroundAction

MESSAGES = Path(__file__).parents[2] / "src" / "dream_vla_msgs"


@pytest.mark.parametrize(
    ("codes", "file", "section"),
    [
        (AnswerCode, "msg/GroundingAnswer.msg", 0),
        (ActionCode, "msg/SymbolicActionResult.msg", 0),
        (TaskCode, "msg/TaskOutcome.msg", 0),
        (Stage, "action/ExecuteTask.action", 2),
    ],
)
def test_codes_are_those_of_the_messages(codes: type[IntEnum], file: str, section: int):
    text = (MESSAGES / file).read_text().split("\n---\n")[section]
    constants = {name: int(value) for name, value in re.findall(r"^uint8 ([A-Z_]+)=(\d+)$", text, re.M)}
    assert constants == {member.name: member.value for member in codes}


def test_action_accuracy_is_the_share_that_succeeded():
    def record(code: ActionCode) -> ActionRecord:
        return ActionRecord(GroundAction("a"), code, "")

    codes = [ActionCode.SUCCEEDED, ActionCode.INVALID, ActionCode.EFFECTS_MISSING, ActionCode.SUCCEEDED]
    assert TaskResult(TaskCode.GOAL_REACHED, "", tuple(map(record, codes))).action_accuracy == 0.5
    assert math.isnan(TaskResult(TaskCode.CANCELED, "cancelled").action_accuracy)
