from __future__ import annotations

import pytest

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.errors import ProblemError
from dream_vla_ros.planning.problem import Problem, check_atom
from dream_vla_ros.planning.terms import Atom, Literal

OBJECTS = {"r": "block", "b": "block", "c1": "column", "c2": "column"}


def test_a_problem_file_is_read(blocksworld: Domain, tmp_path, read_atoms):
    path = tmp_path / "swap.pddl"
    path.write_text(
        "(define (problem swap) (:domain elsewhere) (:objects R B - block C1 C2 - column)"
        "(:init (on R B) (clear R) (inColumn R C1) (inColumn B C1) (not (clear B)))"
        "(:goal (and (inColumn R C2) (not (on R B)))))"
    )
    problem = Problem.from_file(blocksworld, path)
    assert problem.name == "swap"
    assert problem.objects == OBJECTS
    assert problem.initial == read_atoms("on r b", "clear r", "incolumn r c1", "incolumn b c1")
    assert set(problem.goal_atoms) == {Atom("incolumn", ("r", "c2")), Atom("on", ("r", "b"))}
    assert problem.unmet(problem.initial) == (
        'the red block is in the column labelled "c2"',
        "the red block is not directly on top of the blue block",
    )
    assert problem.reached(read_atoms("incolumn r c2"))


def test_parts_make_the_same_problem_as_text(blocksworld: Domain, read_atoms):
    made = Problem.create(
        blocksworld,
        OBJECTS,
        ["(on r b)", Literal(Atom("clear", ("b",)), False)],
        read_atoms("clear r", "clear b"),
    )
    text = (
        "(define (problem t) (:domain d) (:objects r b - block c1 c2 - column) (:init (clear r) (clear b))"
        "(:goal (and (on r b) (not (clear b)))))"
    )
    read = Problem.from_text(blocksworld, text, "t.pddl")
    assert made.objects == read.objects
    assert made.initial == read.initial
    assert made.goal_statements() == read.goal_statements()


@pytest.mark.parametrize(
    ("goal", "reason"),
    [
        ("(over r b)", "no predicate 'over'.*on, clear, incolumn"),
        ("(on r)", "takes 2 objects, not 1"),
        ("(on r z)", "no object 'z'.*r, b, c1, c2"),
        ("(on r c1)", "'c1' is a column.*wants a block"),
        ("(on r b", "not one predicate"),
    ],
)
def test_a_goal_that_does_not_fit_is_refused(blocksworld: Domain, goal: str, reason: str):
    with pytest.raises(ProblemError, match=reason):
        Problem.create(blocksworld, OBJECTS, [goal])


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ({"r": "ball"}, "'r'.*no type 'ball'.*block, column"),
        ({"clear": "block"}, "'clear'.*uses that name"),
        ({"block": "block"}, "'block'.*uses that name"),
        ({"Red block": "block"}, "'Red block' cannot be the name"),
        ({"": "block"}, "cannot be the name"),
    ],
)
def test_objects_that_do_not_fit_are_refused(blocksworld: Domain, objects: dict[str, str], reason: str):
    with pytest.raises(ProblemError, match=reason):
        Problem.create(blocksworld, objects, [])


def test_an_initial_atom_that_does_not_fit_is_refused(blocksworld: Domain, read_atoms):
    with pytest.raises(ProblemError, match="no object 'z'"):
        Problem.create(blocksworld, OBJECTS, [], read_atoms("clear z"))


def test_goals_with_quantifiers_and_disjunctions_are_understood(household: Domain, read_atoms):
    text = (
        "(define (problem t) (:domain d) (:objects a b - movable c d - container) (:init)"
        "(:goal (and (forall (?x - movable) (inside ?x c)) (or (open c) (not (open d))))))"
    )
    problem = Problem.from_text(household, text, "t.pddl")
    assert problem.goal_statements() == (
        "the a is inside the c",
        "the b is inside the c",
        "(the c is open or the d is closed)",
    )
    assert problem.reached(read_atoms("inside a c", "inside b c"))
    assert problem.unmet(read_atoms("inside a c", "open d")) == (
        "the b is inside the c",
        "(the c is open or the d is closed)",
    )


def test_problems_do_not_share_what_they_know(blocksworld: Domain, read_atoms):
    first = Problem.create(blocksworld, OBJECTS, ["(on r b)"], read_atoms("clear r"))
    second = Problem.create(blocksworld, {"g": "block"}, ["(clear g)"])
    assert set(second.objects) == {"g"}
    assert second.goal_statements() == ("the green block is the topmost block of its column",)
    assert first.initial == read_atoms("clear r")


def test_a_predicate_without_objects_can_be_a_goal(tmp_path):
    (tmp_path / "d.pddl").write_text(
        "(define (domain d) (:predicates (done)) (:action a :parameters () :effect (done)))"
    )
    (tmp_path / "d.yaml").write_text(
        "predicates: {done: {question: 'Done?', statement: it is done}}\nactions: {a: {instruction: do it}}\n"
    )
    problem = Problem.create(Domain.from_files(tmp_path / "d.yaml"), {}, ["(done)"])
    assert problem.unmet(frozenset()) == ("it is done",)
    check_atom(problem.scene, Atom("done"))
