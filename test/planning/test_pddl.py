from __future__ import annotations

import subprocess
import sys

import pytest

from dream_vla_ros.planning import pddl
from dream_vla_ros.planning.errors import DomainError, ProblemError

GOOD = "(define (domain d) (:predicates (p ?x)) (:action a :parameters (?x) :effect (p ?x)))"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not PDDL"),
        ("hello", "not PDDL"),
        (GOOD[:-1], "not PDDL"),
        (GOOD.replace("(p ?x)))", "(q ?x)))"), "not PDDL"),
        ("(define (domain d) (:predicates (p)))", "no actions"),
        (GOOD.replace("(:action", "(:functions (fuel ?x - object)) (:action"), "numeric"),
        (
            "(define (domain d) (:predicates (p)) (:durative-action a :parameters ()"
            ":duration (= ?duration 1) :condition (and) :effect (at end (p))))",
            "duration",
        ),
        (")" * 50, "not PDDL"),
    ],
)
def test_a_domain_that_cannot_be_used_is_refused_by_name(text: str, reason: str):
    with pytest.raises(DomainError, match=rf"some\.pddl.*{reason}"):
        pddl.read_domain(text, "some.pddl")


@pytest.mark.parametrize(
    "text",
    ["", "(define (problem p) (:domain d) (:objects x) (:init (q x)) (:goal (p x)))", "(define (problem p))"],
)
def test_a_problem_that_does_not_fit_is_refused_by_name(text: str):
    with pytest.raises(ProblemError, match=r"some\.pddl"):
        pddl.read_problem(GOOD, text, "some.pddl")


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(DomainError, match="nowhere.pddl cannot be read"):
        pddl.read_text("nowhere.pddl", DomainError)


def test_untyped_parameters_take_any_object():
    signature = pddl.signature_of(pddl.read_domain(GOOD, "some.pddl"))
    assert signature.predicates["p"].parameters[0].type == "object"
    assert list(signature.ground_actions({"x": "object"}))


def test_negations_are_pushed_to_the_atoms():
    text = GOOD.replace("(p ?x))", "(p ?x) (q ?x))", 1).replace(
        ":effect", ":precondition (not (exists (?y) (or (p ?y) (not (q ?x))))) :effect"
    )
    problem = pddl.read_problem(
        text, "(define (problem q) (:domain d) (:objects x y) (:init) (:goal (p x)))", "q.pddl"
    )
    action = problem.action("a")
    manager = problem.environment.expression_manager
    ground = action.preconditions[0].substitute(
        {manager.ParameterExp(action.parameters[0]): manager.ObjectExp(problem.object("x"))}
    )
    parts = {str(pddl.literal_of(part)) for part in pddl.conjuncts(pddl.normal_form(ground, problem))}
    assert parts == {"(not (p x))", "(not (p y))", "(q x)"}


def test_nothing_is_printed_about_the_planner(tmp_path):
    script = (
        "from dream_vla_ros.planning.library import load_domain\n"
        "from dream_vla_ros.planning.problem import Problem\n"
        "from dream_vla_ros.planning.planner import ClassicalPlanner\n"
        "p = Problem.create(load_domain('tabletop'), {'red': 'block'}, ['(holding red)'])\n"
        "assert ClassicalPlanner().plan(p, p.initial) is None\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())
