from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_vla_ros.planning.domain import Domain, Scene
from dream_vla_ros.planning.errors import PlanParseError
from dream_vla_ros.planning.goal_text import format_goal, parse_goal
from dream_vla_ros.planning.grammar import goal_grammar
from dream_vla_ros.planning.terms import Atom, Literal


@pytest.fixture(scope="module")
def scene(tabletop: Domain) -> Scene:
    return Scene(tabletop, {"red": "block", "blue": "block", "green": "block"})


@given(st.data())
def test_what_is_written_reads_back_and_is_in_the_grammar(scene: Scene, data):
    atoms = st.sampled_from(list(scene.domain.signature.ground_atoms(scene.objects)))
    goal = data.draw(st.lists(st.builds(Literal, atoms, st.booleans()), min_size=1, max_size=4, unique=True))
    text = format_goal(goal)
    assert parse_goal(text, scene) == tuple(goal)
    assert goal_grammar(scene).accepts(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"goal": ["(on red blue)"]}',
        '```json\n{"goal": ["on(Red, Blue)",]}\n```',
        'It wants {"predicates": ["(on red blue)", "(on red blue)"]}.',
        '["(on red blue)"]',
    ],
)
def test_goals_are_found_whatever_is_around_them(scene: Scene, text: str):
    assert parse_goal(text, scene) == (Literal(Atom("on", ("red", "blue"))),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("on red blue", "no JSON"),
        ('{"goal": []}', "no 'goal'"),
        ('{"goal": ["(on red blue)", "(on', "no 'goal' with a complete list"),
        ('{"goal": [{"on": "red"}]}', "not a list of predicates in quotes"),
        ('{"goal": ["(above red blue)"]}', "no predicate 'above'"),
        ('{"goal": ["(on red pink)"]}', "no object 'pink'"),
    ],
)
def test_what_is_wrong_is_told(scene: Scene, text: str, reason: str):
    with pytest.raises(PlanParseError, match=reason):
        parse_goal(text, scene)
