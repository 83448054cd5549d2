from __future__ import annotations

import pytest

from dream_vla_ros.planning.domain import Domain, Scene
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.planning.terms import Atom, GroundAction, Literal


@pytest.fixture
def blocks(blocksworld: Domain) -> Scene:
    return Scene(blocksworld, {"r": "block", "b": "block", "x9": "block", "c1": "column", "c2": "column"})


def test_atoms_and_actions_are_put_into_words(blocks: Scene):
    assert blocks.question(Atom("on", ("r", "b"))) == "Is the red block directly on top of the blue block?"
    assert blocks.statement(Literal(Atom("incolumn", ("r", "c1")), False)) == (
        'the red block is not in the column labelled "c1"'
    )
    assert blocks.statement(Literal(Atom("leftof", ("c1", "c2")), False)).startswith(
        "it is not true that the"
    )
    assert (
        blocks.instruction(GroundAction("moveblock", ("b", "c2")))
        == 'move the blue block to the column labelled "c2"'
    )


def test_objects_without_words_are_called_by_name(blocks: Scene, household: Domain):
    assert blocks.describe("x9") == "x9"
    assert Scene(household, {"gym_shoe_1": "movable"}).describe("gym_shoe_1") == "gym shoe 1"


def test_everything_but_the_obvious_is_asked_for(blocks: Scene):
    atoms = blocks.askable_atoms()
    assert Atom("on", ("r", "b")) in atoms
    assert Atom("on", ("r", "r")) not in atoms
    assert not [atom for atom in atoms if atom.predicate in ("leftof", "rightof")]


@pytest.mark.parametrize(
    ("name", "objects"),
    [
        ("blocksworld", dict.fromkeys("rgbyop", "block") | dict.fromkeys(["c1", "c2", "c3"], "column")),
        ("tabletop", dict.fromkeys(["red", "green", "blue", "yellow"], "block")),
        (
            "household",
            {"apple_1": "sliceable", "knife_1": "slicer", "sink_1": "object", "cabinet_1": "container"},
        ),
    ],
)
def test_no_two_questions_of_a_shipped_domain_read_the_same(name: str, objects: dict[str, str]):
    scene = Scene(load_domain(name), objects)
    atoms = scene.askable_atoms()
    assert len({scene.question(atom) for atom in atoms}) == len(atoms)
    actions = list(scene.domain.signature.ground_actions(objects))
    assert len({scene.instruction(action) for action in actions}) == len(actions)
    for text in [scene.question(atom) for atom in atoms] + [scene.instruction(action) for action in actions]:
        assert "{" not in text
        assert "  " not in text


def test_presence_is_asked_where_it_can_be(tabletop: Domain, household: Domain):
    scene = Scene(tabletop, {"red": "block"})
    assert scene.presence_question("red") == "Is there a red block on the table or in the gripper?"
    assert Scene(household, {"sink_1": "object"}).presence_question("sink_1") is None


def test_the_simulation_knows_every_instruction_of_the_tabletop(tabletop: Domain):
    tasks = pytest.importorskip("dream_vla_ros.sim.tasks")
    colours = list(tabletop.words.objects)
    scene = Scene(tabletop, dict.fromkeys(colours[:4], "block"))
    for action in tabletop.signature.ground_actions(scene.objects):
        if len(set(action.arguments)) == len(action.arguments):
            task = tasks.task_from_instruction(scene.instruction(action))
            assert task.goal.blocks == action.arguments
    assert set(colours) == set(pytest.importorskip("dream_vla_ros.sim.appearance").COLOURS)
