from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.planning.domain import Domain, Scene
from dream_vla_ros.planning.errors import GrammarError
from dream_vla_ros.planning.grammar import (
    ByteAutomaton,
    Chain,
    Choice,
    Expression,
    Repeat,
    Text,
    compile_automaton,
    goal_grammar,
    plan_grammar,
)
from dream_vla_ros.planning.plan_text import format_plan, parse_plan
from dream_vla_ros.planning.resolve import Resolver
from dream_vla_ros.planning.terms import GroundAction

EXPRESSIONS = st.recursive(
    st.text(alphabet="ab", max_size=3).map(lambda text: Text(text.encode())),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Chain(tuple(parts)))
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: Choice(tuple(parts)))
        | inner.map(Repeat)
    ),
    max_leaves=8,
)


def pattern(expression: Expression) -> str:
    if isinstance(expression, Text):
        return re.escape(expression.value.decode())
    if isinstance(expression, Repeat):
        return f"(?:{pattern(expression.part)})*"
    parts = [pattern(part) for part in expression.parts]
    return f"(?:{'|'.join(parts)})" if isinstance(expression, Choice) else "".join(parts)


@given(EXPRESSIONS, st.lists(st.text(alphabet="ab", max_size=6), min_size=1, max_size=8))
def test_an_automaton_accepts_what_a_regular_expression_does(expression: Expression, texts: list[str]):
    automaton = compile_automaton(expression)
    for text in texts:
        assert automaton.accepts(text.encode()) == bool(re.fullmatch(pattern(expression), text))


SCENES = {
    "blocksworld": {"r": "block", "b": "block", "c1": "column", "c10": "column"},
    "household": {"a_1": "sliceable", "a_10": "movable", "k": "slicer", "s": "object", "c": "container"},
    "tabletop": {"red": "block", "blue": "block"},
}


@pytest.fixture(scope="module", params=SCENES)
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.getfixturevalue(request.param), SCENES[request.param])


@pytest.fixture(scope="module")
def grammars(scene: Scene) -> dict[bool, ByteAutomaton]:
    return {blanks: plan_grammar(scene, blanks=blanks) for blanks in (False, True)}


def draw_text(automaton: ByteAutomaton, data: st.DataObject) -> bytes:
    text, state = bytearray(), 0
    while True:
        if state in automaton.accepting and (len(text) > 300 or not automaton.transitions[state]):
            return bytes(text)
        choices = sorted(automaton.transitions[state])
        if len(text) > 300:  # the way to the end: close the list of actions as soon as that can be done
            choices = [byte for byte in choices if byte in b"]}"] or choices
        byte = data.draw(st.sampled_from(choices)) if len(choices) > 1 else choices[0]
        text.append(byte)
        state = automaton.transitions[state][byte]


@given(st.data(), st.booleans())
def test_every_text_of_the_grammar_is_a_plan(scene: Scene, grammars, data, blanks: bool):
    text = draw_text(grammars[blanks], data).decode()
    json.loads(text)
    parsed = parse_plan(text)
    assert parsed.actions
    assert parsed.remarks == ()
    for raw in parsed.actions:
        Resolver(scene).resolve(raw)


@given(st.data())
def test_every_plan_is_a_text_of_the_grammar(scene: Scene, grammars, data):
    actions = st.sampled_from(list(scene.domain.signature.ground_actions(scene.objects)))
    plan = data.draw(st.lists(actions, min_size=1, max_size=4))
    text = format_plan(scene.domain, plan)
    assert grammars[False].accepts(text.encode())
    for version in (text, *(json.dumps(json.loads(text), indent=indent) for indent in (1, 2, 4))):
        assert grammars[True].accepts(version.encode())
    assert not grammars[False].accepts(text[:-1].encode())


def test_what_is_no_plan_is_not_in_the_grammar(household: Domain):
    grammar = plan_grammar(Scene(household, SCENES["household"]))
    for plan in (
        [],
        [GroundAction("grasp", ("s",))],
        [GroundAction("grasp", ("z",))],
        [GroundAction("place-on", ("k", "s", "c"))],
        [GroundAction("grasp", ("a_1",)), GroundAction("place-inside", ("a_1", "s"))],
    ):
        assert not grammar.accepts(format_plan(household, plan).encode())


def test_actions_without_fitting_objects_are_left_out(household: Domain):
    scene = Scene(household, {"c": "container"})
    grammar = plan_grammar(scene)
    assert grammar.accepts(format_plan(household, [GroundAction("open-container", ("c",))]).encode())
    assert grammar.after(b'{"plan": [{"action": "g') is None


def test_a_grammar_of_nothing_is_refused(blocksworld: Domain):
    with pytest.raises(GrammarError, match="blocksworld"):
        plan_grammar(Scene(blocksworld, {"r": "block"}))
    with pytest.raises(GrammarError, match="blocksworld"):
        goal_grammar(Scene(blocksworld, {}))
    with pytest.raises(GrammarError, match="no text at all"):
        compile_automaton(Choice(()))
