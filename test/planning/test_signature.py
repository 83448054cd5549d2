from __future__ import annotations

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.terms import Atom, GroundAction


def test_subtypes_stand_where_their_supertypes_do(household: Domain):
    signature = household.signature
    assert signature.is_a("sliceable", "movable")
    assert signature.is_a("sliceable", "object")
    assert not signature.is_a("movable", "sliceable")
    assert not signature.is_a("container", "movable")


def test_only_fitting_objects_are_grounded(household: Domain):
    objects = {"apple": "sliceable", "knife": "slicer", "table": "object"}
    actions = set(household.signature.ground_actions(objects))
    assert GroundAction("slice", ("apple", "knife")) in actions
    assert GroundAction("slice", ("knife", "apple")) not in actions
    assert GroundAction("grasp", ("table",)) not in actions
    assert GroundAction("navigate-to", ("table",)) in actions


def test_every_atom_is_listed_once(blocksworld: Domain):
    objects = {"r": "block", "b": "block", "c1": "column"}
    atoms = list(blocksworld.signature.ground_atoms(objects))
    assert len(atoms) == len(set(atoms)) == 4 + 2 + 2 + 1 + 1
    assert Atom("incolumn", ("r", "c1")) in atoms
