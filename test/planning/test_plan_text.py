from __future__ import annotations

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.errors import PlanParseError
from dream_vla_ros.planning.plan_text import RawAction, format_plan, parse_plan
from dream_vla_ros.planning.terms import GroundAction

BY_NAME = RawAction("moveblock", (), {"block": "r", "column": "c1"})
BY_POSITION = RawAction("grasp", ("bowl_1",))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ('{"plan": [{"action": "moveblock", "parameters": {"block": "r", "column": "c1"}}]}', BY_NAME),
        ('{"plan": [{"action": "grasp", "parameters": ["bowl_1"]}]}', BY_POSITION),
        ('{"PLAN": [{"Action": "grasp", "Parameters": ["bowl_1"]}]}', BY_POSITION),
        ('[{"action": "grasp", "parameters": ["bowl_1"]}]', BY_POSITION),
        ('{"action": "grasp", "parameters": ["bowl_1"]}', BY_POSITION),
        ('{"plan": {"action": "grasp", "parameters": ["bowl_1"]}}', BY_POSITION),
        ('{"plan": [{"name": "grasp", "args": ["bowl_1"]}]}', BY_POSITION),
        ('{"plan": [{"action": "grasp", "parameters": "bowl_1"}]}', BY_POSITION),
        ('{"plan": ["grasp(bowl_1)"]}', BY_POSITION),
        ('{"plan": ["(grasp bowl_1)"]}', BY_POSITION),
        ('{"plan": [{"action": "grasp(bowl_1)"}]}', BY_POSITION),
        ('{"plan": [{"action": "moveblock", "block": "r", "column": "c1"}]}', BY_NAME),
        (
            '{"explanation": "it {is} [near]", "plan": [{"action": "grasp", "parameters": ["bowl_1"]}]}',
            BY_POSITION,
        ),
        (
            'The plan is:\n```json\n{"plan": [{"action": "grasp", "parameters": ["bowl_1",],},]}\n```\nDone!',
            BY_POSITION,
        ),
        (
            "I see {a bowl} [here]. {'plan': [{'action': 'grasp', 'parameters': ['bowl_1']}]} That's [it].",
            BY_POSITION,
        ),
        ('[so {"plan": [{"action": "grasp", "parameters": ["bowl_1"]}]}]', BY_POSITION),
        (
            '{"plan": [{"action": "grasp", "parameters": ["bowl_1"]}, {"action": "place-on", "parame',
            BY_POSITION,
        ),
        ('{"plan": [{"action": "grasp", "parameters": ["bowl_1"]}, "and then", 7]}', BY_POSITION),
        ('{"plan": [{"action": "grasp", "parameters": ["bowl_1"]}, ... other actions ...]}', BY_POSITION),
        ('First {"plan": [{"action": "x", "parameters": []}]}, no: {"plan": ["grasp(bowl_1)"]}', BY_POSITION),
    ],
)
def test_plans_are_found_whatever_is_around_them(text: str, first: RawAction):
    assert parse_plan(text).actions[0] == first


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("I would grasp the bowl.", "no JSON; it begins with 'I would grasp the bowl.'"),
        ('{"plan": "grasp"}', "'plan' is not a list"),
        ('{"plan": [7]}', "action 1 of the plan is not an object|action 1 of the plan is '7'"),
        ('{"plan": [{"parameters": ["a"]}]}', "action 1 of the plan has no 'action'"),
        ('{"plan": [{"action": ["a"], "parameters": ["a"]}]}', "has no 'action' that is a name"),
        ('{"plan": [{"action": "grasp", "parameters": [["a"]]}]}', "where the name of an object should be"),
        ('{"plan": [{"action": "grasp", "parameters": {"a": {"b": "c"}}}]}', "where the name of an object"),
        ('{"plan": [{"action": "grasp", "par', "cut off before its first action"),
        ('{"answer": "grasp"}', "without 'plan'; it has.*answer"),
        ("{{{{", "near"),
    ],
)
def test_what_is_wrong_is_told(text: str, reason: str):
    with pytest.raises(PlanParseError, match=reason):
        parse_plan(text)


def test_an_empty_plan_is_a_plan():
    assert parse_plan('{"plan": []}').actions == ()


def test_what_was_forgiven_is_told():
    remarks = parse_plan("{'plan': [{'action': 'grasp', 'parameters': ['a']}, {'action'").remarks
    assert "quotes are not straight double ones" in remarks
    assert "the plan's end is cut off" in remarks


@given(st.data())
def test_what_is_written_reads_back(blocksworld: Domain, household: Domain, data):
    domain = data.draw(st.sampled_from([blocksworld, household]))
    objects = (
        {"a_1": "block", "b": "block", "c-2": "column"}
        if domain is blocksworld
        else {"a_1": "sliceable", "k": "slicer", "c": "container"}
    )
    actions = data.draw(st.lists(st.sampled_from(list(domain.signature.ground_actions(objects))), max_size=5))
    text = format_plan(domain, actions)
    assert json.loads(text)
    for version in (text, json.dumps(json.loads(text), indent=4), f"So: {text}."):
        parsed = parse_plan(version)
        assert [(a.name, a.positional or tuple((a.named or {}).values())) for a in parsed.actions] == [
            (action.name, action.arguments) for action in actions
        ]
        assert parsed.remarks == ()


JSON_LIKE = st.lists(
    st.sampled_from(
        [
            '{"plan": [',
            '{"action": "a"',
            ', "parameters": ["b"]',
            "}",
            "]",
            ",",
            "[",
            "{",
            '"',
            ":",
            "'",
            "x",
            "\\",
            "...",
            "//",
            "\n",
        ]
    ),
    max_size=30,
).map("".join)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=200) | JSON_LIKE)
def test_text_never_raises_anything_but_a_parse_error(text: str):
    try:
        plan = parse_plan(text)
    except PlanParseError:
        return
    assert all(action.name for action in plan.actions)


@pytest.mark.parametrize(
    "piece", ["[", "{", '{"', "{'a':", "/*", '["', "[a ", "\\", "[{", '{"plan":[', "#", '"']
)
def test_endless_junk_is_refused_quickly(piece: str):
    started = time.process_time()
    with pytest.raises(PlanParseError):
        parse_plan(piece * 100_000)
    assert time.process_time() - started < 5.0


def test_a_plan_at_the_end_of_endless_thought_is_found():
    assert parse_plan("hm. " * 50_000 + '{"plan": ["grasp(bowl_1)"]}').actions == (BY_POSITION,)


def test_actions_print_briefly():
    assert str(BY_NAME) == "moveblock(block: r, column: c1)"
    assert len(str(RawAction("a" * 500))) < 100
    assert format_plan.__doc__
    assert str(GroundAction("grasp", BY_POSITION.positional)) == str(BY_POSITION)
