from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.planning.domain import Domain, Scene
from dream_vla_ros.planning.errors import InvalidActionError
from dream_vla_ros.planning.plan_text import RawAction
from dream_vla_ros.planning.resolve import Resolver
from dream_vla_ros.planning.terms import GroundAction

MOVE = GroundAction("moveblock", ("r", "c1"))


@pytest.fixture(scope="module")
def blocks(blocksworld: Domain) -> Resolver:
    return Resolver(Scene(blocksworld, {"r": "block", "b": "block", "c1": "column", "c2": "column"}))


@pytest.fixture(scope="module")
def home(household: Domain) -> Resolver:
    objects = {"hardback_1": "movable", "table_1": "object", "apple_1": "sliceable", "knife_1": "slicer"}
    return Resolver(Scene(household, objects))


@pytest.mark.parametrize(
    "raw",
    [
        RawAction("moveblock", (), {"block": "r", "column": "c1"}),
        RawAction("moveBlock", (), {"Block": "R", "Column": "C1"}),
        RawAction("MOVEBLOCK", ("R", "C1")),
        RawAction("moveblock", (), {"column": "c1", "block": "r"}),
        RawAction("moveblock", (), {"?block": "r", "?column": "c1"}),
        RawAction("moveblock", (), {"b1": "r", "target": "c1"}),
        RawAction("moveblock", ("red block", 'column labelled "c1"')),
        RawAction(" moveblock ", ("the red block", " c1 ")),
    ],
)
def test_names_are_understood_as_people_mean_them(blocks: Resolver, raw: RawAction):
    assert blocks.resolve(raw) == MOVE


def test_names_with_underscores_may_be_said(home: Resolver):
    expected = GroundAction("place-on", ("hardback_1", "table_1"))
    assert home.resolve(RawAction("place-on", ("hardback_1", "table_1"))) == expected
    assert home.resolve(RawAction("Place_On", ("Hardback 1", "the table 1"))) == expected
    assert home.resolve(RawAction("place on", (), {"item": "hardback-1", "support": "TABLE_1"})) == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (
            RawAction("movblock", ("r", "c1")),
            r"no action 'movblock' \(did you mean 'moveblock'\?\).*moveblock",
        ),
        (RawAction("fly", ()), "no action 'fly'; the actions are moveblock"),
        (RawAction("moveblock", ("r",)), "takes 2 objects, not 1"),
        (RawAction("moveblock", ("r", "c1", "c2")), "takes 2 objects, not 3"),
        (RawAction("moveblock", (), {"block": "r"}), "takes 2 parameters, not 1; 'column' is missing"),
        (
            RawAction("moveblock", (), {"block": "r", "place": "c1"}),
            "no parameter 'place'; 'column' is missing",
        ),
        (RawAction("moveblock", ("g", "c1")), "no object 'g'.*r, b, c1, c2"),
        (RawAction("moveblock", ("r", "cc1")), "no object 'cc1' .did you mean 'c1'"),
        (RawAction("moveblock", ("c1", "r")), "'c1' is a column.*wants a block as its block: r, b"),
        (RawAction("moveblock", ("", "c1")), "no object ''"),
    ],
)
def test_what_is_not_part_of_the_problem_is_told_to_the_model(blocks: Resolver, raw: RawAction, reason: str):
    with pytest.raises(InvalidActionError, match=reason):
        blocks.resolve(raw)


def test_a_description_of_two_objects_means_neither(tabletop: Domain):
    resolver = Resolver(Scene(tabletop, {"red_1": "block", "red-1": "block"}))
    assert resolver.resolve(RawAction("pick-up", ("red_1",))).arguments == ("red_1",)
    with pytest.raises(InvalidActionError, match="several objects.*red_1, red-1"):
        resolver.resolve(RawAction("pick-up", ("red 1",)))


@given(
    st.builds(
        RawAction,
        st.text(max_size=12) | st.just("moveblock"),
        st.lists(st.text(max_size=8) | st.sampled_from(["r", "c1"]), max_size=3).map(tuple),
        st.none() | st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=3),
    )
)
def test_any_action_is_understood_or_refused(blocks: Resolver, raw: RawAction):
    try:
        action = blocks.resolve(raw)
    except InvalidActionError:
        return
    assert action.name == "moveblock"
    assert len(action.arguments) == 2
