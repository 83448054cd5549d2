"""Pictures of BlocksWorld states: what lies where, and that the picture shows it."""

from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.symbolic_environment import SymbolicEnvironment
from dream_vla_ros.planning.terms import Atom, GroundAction
from dream_vla_ros.sim.appearance import COLOURS
from dream_vla_ros.sim.columns import ColumnsError, ColumnsScene, column_order, stacks

OBJECTS = {"r": "block", "g": "block", "b": "block", "c1": "column", "c2": "column", "c3": "column"}


def state(*texts):
    return frozenset(Atom(words[0], tuple(words[1:])) for words in (text.split() for text in texts))


NEIGHBOURS = ("leftof c1 c2", "leftof c2 c3")
START = state("on r g", "incolumn r c1", "incolumn g c1", "incolumn b c3", "clear r", "clear b", *NEIGHBOURS)


@pytest.fixture(scope="module")
def domain() -> Domain:
    return load_domain("blocksworld")


@pytest.fixture
def scene():
    made = ColumnsScene(OBJECTS)
    yield made
    made.close()


def centre_of(image, colour):
    """Return column and row of the middle of everything painted in a colour's hue."""
    rgb = image.astype(float)
    wanted = np.array(COLOURS[colour])
    cosine = (rgb @ wanted) / (np.linalg.norm(rgb, axis=-1) + 1e-6) / np.linalg.norm(wanted)
    rows, columns = np.nonzero((cosine > 0.985) & (rgb.max(-1) > 60))
    assert len(rows) > 200, f"no {colour} block is seen"
    return float(columns.mean()), float(rows.mean())


def test_heights_and_columns_are_read_off_the_state():
    assert stacks(["r", "g", "b"], ("c1", "c2", "c3"), START) == {"r": (0, 1), "g": (0, 0), "b": (2, 0)}


def test_columns_stand_as_the_state_says_not_by_name():
    assert column_order(["c1", "c2", "c3"], state("leftof c3 c1", "leftof c1 c2")) == ("c3", "c1", "c2")
    assert column_order(["c2", "c1"], state()) == ("c1", "c2")
    assert len(column_order(["c1", "c2"], state("leftof c1 c2", "leftof c2 c1"))) == 2


def test_the_picture_shows_who_is_above_and_who_is_left(scene):
    (image,) = scene.render(START)
    assert image.shape == (224, 224, 3)
    assert image.dtype == np.uint8
    (red_x, red_y), (green_x, green_y), (blue_x, blue_y) = (
        centre_of(image, colour) for colour in ("red", "green", "blue")
    )
    assert abs(red_x - green_x) < 6
    assert red_y < green_y - 15
    assert abs(blue_y - green_y) < 12
    assert blue_x > green_x + 60


def test_a_new_state_is_a_new_picture_and_the_old_one_stays(scene):
    (before,) = scene.render(START)
    kept = before.copy()
    (after,) = scene.render(state("incolumn r c2", "incolumn g c1", "incolumn b c3", *NEIGHBOURS))
    assert np.array_equal(before, kept)
    assert centre_of(after, "red")[0] > centre_of(before, "red")[0] + 30
    assert np.array_equal(scene.render(START)[0], before)


def test_columns_are_labelled(scene):
    (image,) = scene.render(START)
    other = ColumnsScene({name.replace("c", "k"): kind for name, kind in OBJECTS.items()})
    renamed = frozenset(
        Atom(atom.predicate, tuple(name.replace("c", "k") for name in atom.arguments)) for atom in START
    )
    changed = (other.render(renamed)[0] != image).any(-1).any(0)
    other.close()
    places = np.nonzero(changed)[0]
    # Three letters, each below its own column.
    assert 1 + int((np.diff(places) > 20).sum()) == 3


def test_every_block_stays_in_view_in_one_column():
    objects = {name: "block" for name in "rgbyop"} | {"c1": "column", "c2": "column"}
    tower = [f"on {upper} {lower}" for upper, lower in zip("gbyop", "rgbyo", strict=True)]
    scene = ColumnsScene(objects, (320, 240))
    (image,) = scene.render(state(*tower, *(f"incolumn {name} c1" for name in "rgbyop")))
    scene.close()
    heights = [
        centre_of(image, colour)[1] for colour in ("red", "green", "blue", "yellow", "orange", "purple")
    ]
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] > 15


@pytest.mark.parametrize(
    ("objects", "atoms"),
    [
        ({"r": "block"}, ()),
        ({"mauve": "block", "c1": "column"}, ("incolumn mauve c1",)),
        ({"r": "block", "c1": "column"}, ()),
        (
            {"r": "block", "g": "block", "c1": "column"},
            ("on r g", "on g r", "incolumn r c1", "incolumn g c1"),
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(objects, atoms):
    with pytest.raises(ColumnsError):
        ColumnsScene(objects).render(state(*atoms))


def test_a_simulated_problem_shows_its_moves(domain, scene):
    problem = Problem.create(domain, OBJECTS, ["(incolumn r c2)"], START)
    world = SymbolicEnvironment(problem, renderer=scene.render)
    before = world.observe().images[0]
    world.execute(GroundAction("moveblock", ("r", "c2")), "")
    after = world.observe().images[0]
    assert centre_of(after, "red")[0] > centre_of(before, "red")[0] + 30
