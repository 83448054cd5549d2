from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.planning.errors import ProblemError
from dream_vla_ros.planning.terms import Atom, GroundAction, Literal, parse_literal

NAMES = st.from_regex(r"[a-z_][a-z0-9_\-]{0,8}", fullmatch=True).filter(lambda name: name != "not")
LITERALS = st.builds(Literal, st.builds(Atom, NAMES, st.lists(NAMES, max_size=3).map(tuple)), st.booleans())


@given(LITERALS)
def test_what_is_written_reads_back(literal: Literal):
    assert parse_literal(str(literal)) == literal


@pytest.mark.parametrize(
    "text",
    ["(on red blue)", "on(red, blue)", "on red blue", " ( ON  Red\nBlue ) ", "(on RED blue)"],
)
def test_one_atom_may_be_written_in_several_ways(text: str):
    assert parse_literal(text) == Literal(Atom("on", ("red", "blue")))


@pytest.mark.parametrize(
    "text", ["(not (on red blue))", "not on(red, blue)", "(not on(red, blue))", "not (on red blue)"]
)
def test_so_may_its_negation(text: str):
    assert parse_literal(text) == Literal(Atom("on", ("red", "blue")), False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "()",
        "(not)",
        "not",
        "(not (not (on a b)))",
        "(and (on a b) (on b c))",
        "(on a b) (on b c)",
        "(on a b",
        "on a b)",
        "(on ?x b)",
        "on(a,,b)",
        "on(a b",
        "(on a, b)",
        "?",
        "(" * 200,
        "on " + "a" * 2000,
        "on $a",
    ],
)
def test_what_is_no_literal_is_refused(text: str):
    with pytest.raises(ProblemError):
        parse_literal(text)


@given(st.text(max_size=80) | st.text(alphabet="()no t,ab-?", max_size=30))
def test_any_text_is_read_or_refused(text: str):
    try:
        literal = parse_literal(text)
    except ProblemError:
        return
    assert parse_literal(str(literal)) == literal


def test_a_literal_holds_by_the_closed_world():
    state = frozenset({Atom("on", ("a", "b"))})
    assert Literal(Atom("on", ("a", "b"))).holds(state)
    assert Literal(Atom("on", ("b", "a")), False).holds(state)
    assert not Literal(Atom("on", ("b", "a"))).holds(state)


def test_actions_are_written_as_calls():
    assert str(GroundAction("moveblock", ("r", "c1"))) == "moveblock(r, c1)"
