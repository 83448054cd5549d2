from __future__ import annotations

import json

import pytest

from dream_vla_ros.planning.domain import Domain, Scene
from dream_vla_ros.planning.outcomes import ActionCode, ActionRecord
from dream_vla_ros.planning.prompts import goal_messages, planner_messages
from dream_vla_ros.planning.terms import GroundAction


@pytest.fixture
def scene(blocksworld: Domain) -> Scene:
    return Scene(blocksworld, {"r": "block", "c1": "column"})


def text_of(message) -> str:
    return message["content"][0]["text"]


def test_the_planner_is_told_all_it_needs(scene: Scene):
    history = [
        ActionRecord(GroundAction("moveblock", ("r", "c1")), ActionCode.SUCCEEDED, "done"),
        ActionRecord(GroundAction("fly", ("r",)), ActionCode.INVALID, 'there is no action "fly"'),
    ]
    system, user = planner_messages(
        scene, ["the red block is high"], history, images=2, facts=["it rains"], notes=["try {again}"]
    )
    assert system["role"] == "system"
    assert '"parameters": {"parameter": "object", ...}' in text_of(system)
    text = text_of(user)
    for part in (
        "- r: red block (block)",
        "- moveblock(block: block, column: column): Takes a block",
        "## Goal\n- The red block is high.",
        "## Known\n- It rains.",
        "## Note\nTry {again}.",
    ):
        assert part in text
    tried = [json.loads(line) for line in text.splitlines() if line.startswith('{"action"')]
    assert tried == [
        {"action": "moveblock", "parameters": {"block": "r", "column": "c1"}, "outcome": "done"},
        {"action": "fly", "parameters": ["r"], "outcome": 'there is no action "fly"'},
    ]
    assert [part["type"] for part in user["content"]] == ["text", "image", "image"]


def test_what_there_is_nothing_of_has_no_section(scene: Scene):
    text = text_of(planner_messages(scene, ["g"])[1])
    assert "## Known" not in text
    assert "## Note" not in text
    assert "## Actions tried so far\nnone" in text


def test_only_the_latest_actions_are_told(scene: Scene):
    history = [ActionRecord(GroundAction("fly", (str(n),)), ActionCode.INVALID, "no") for n in range(100)]
    text = text_of(planner_messages(scene, ["g"], history)[1])
    assert text.count('{"action"') == 20
    assert '["99"]' in text


def test_lists_are_asked_for_where_the_domain_wants_them(household: Domain):
    system, _ = planner_messages(Scene(household, {"a": "movable"}), ["g"])
    assert '"parameters": ["object", ...]' in text_of(system)


def test_a_goal_is_asked_for_in_the_domains_predicates(scene: Scene):
    text = text_of(goal_messages(scene, "Pile them up!")[1])
    assert "- (on ?upper ?lower): the ?upper is directly on top of the ?lower" in text
    assert "## Task\nPile them up!" in text
