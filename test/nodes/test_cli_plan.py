"""How plans and answers read on a terminal, and what the commands say without a planner."""

from __future__ import annotations

import io
import math

import pytest

from dream_vla_msgs.action import ExecuteTask
from dream_vla_msgs.msg import GroundingAnswer, SymbolicAction, SymbolicActionResult
from dream_vla_ros.nodes.cli import main as cli
from dream_vla_ros.nodes.cli.ask import sentence
from dream_vla_ros.nodes.cli.plan import _Teller, words
from dream_vla_ros.nodes.cli.progress import ProgressLine

pytestmark = pytest.mark.ros

ACTION = SymbolicAction(name="put-on", arguments=["red", "blue"])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"answer": 1, "probability": 0.97, "calibrated": True}, "Q  yes (97% yes)"),
        ({"answer": 0, "probability": 0.1}, "Q  no (10% yes, uncalibrated)"),
        ({"answer": 2, "probability": math.nan, "message": "no idea"}, "Q  unknown (no idea)"),
        ({"answer": 1, "probability": 1.0, "message": "simulator truth"}, "Q  yes (simulator truth)"),
    ],
)
def test_answers_say_how_sure_they_are_and_where_they_are_from(answer, text):
    assert sentence(GroundingAnswer(query="Q", **answer)) == text


def test_each_action_is_told_once():
    stream = io.StringIO()
    teller = _Teller(ProgressLine(stream))
    done = SymbolicActionResult(action=ACTION, code=1, message="done")
    for step, last in ((0, SymbolicActionResult()), (1, done), (1, done)):
        teller.tell(ExecuteTask.Feedback(state=3, step=step, last_action=last, plan=[ACTION]))
    teller.rest([done, SymbolicActionResult(code=4, message="there is no action 'fly'")])
    told = stream.getvalue()
    assert told.count("put-on(red, blue): done") == 1
    assert told.count("(no action): there is no action 'fly'") == 1
    assert words(ACTION) == "put-on(red, blue)"


@pytest.mark.parametrize("command", [["ask", "Is it?"], ["plan", "stack red on blue"]])
def test_without_a_planner_the_commands_say_what_to_start(command, domain_id, capsys):
    assert cli.main([*command, "--timeout", "0.2", "--namespace", "/nobody"]) == 1
    assert "ros2 run dream_vla_ros planner" in capsys.readouterr().err
