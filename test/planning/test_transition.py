from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from unified_planning.engines.sequential_simulator import UPSequentialSimulator
from unified_planning.io import PDDLReader
from unified_planning.model import UPState

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.errors import InvalidActionError
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.terms import Atom, GroundAction, Literal, State
from dream_vla_ros.planning.transition import TransitionModel


def apply_literals(state: State, literals: tuple[Literal, ...]) -> State:
    gone = {literal.atom for literal in literals if not literal.positive}
    come = {literal.atom for literal in literals if literal.positive}
    return frozenset((state - gone) | come)


def test_moving_a_block(two_columns: Problem, read_atoms):
    model = TransitionModel(two_columns)
    action = GroundAction("moveblock", ("r", "c2"))
    after = model.apply(two_columns.initial, action)
    assert after is not None
    assert after - two_columns.initial == read_atoms("clear b", "incolumn r c2")
    assert two_columns.initial - after == read_atoms("on r b", "incolumn r c1")
    assert apply_literals(two_columns.initial, model.effects(two_columns.initial, action)) == after


def test_what_is_missing_is_told_in_words(two_columns: Problem):
    model = TransitionModel(two_columns)
    buried = GroundAction("moveblock", ("b", "c1"))
    assert [condition.words for condition in model.missing(two_columns.initial, buried)] == [
        'the blue block is not in the column labelled "c1"',
        "the blue block is the topmost block of its column",
    ]
    assert model.apply(two_columns.initial, buried) is None
    assert buried not in set(model.possible(two_columns.initial))


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (GroundAction("fly", ("r",)), "no action 'fly'.*moveblock"),
        (GroundAction("moveblock", ("r",)), "takes 2 objects, not 1"),
        (GroundAction("moveblock", ("r", "c9")), "no object 'c9'"),
        (GroundAction("moveblock", ("c1", "r")), "'c1' is a column.*wants a block"),
    ],
)
def test_actions_that_do_not_exist_are_refused(two_columns: Problem, action: GroundAction, reason: str):
    model = TransitionModel(two_columns)
    for call in (model.check, model.conditions, model.atoms_to_know, lambda a: model.apply(frozenset(), a)):
        with pytest.raises(InvalidActionError, match=reason):
            call(action)


def test_what_decides_about_an_action_is_known(two_columns: Problem, read_atoms):
    model = TransitionModel(two_columns)
    known = set(model.atoms_to_know(GroundAction("moveblock", ("r", "c2"))))
    assert known >= read_atoms(
        "clear r", "incolumn r c2", "on r b", "incolumn b c2", "clear b", "incolumn r c1"
    )
    assert not {atom for atom in known if atom.predicate == "leftof"}
    assert model.static_predicates == {"leftof", "rightof"}


def test_true_wins_where_an_effect_says_both(household: Domain, read_atoms):
    problem = Problem.create(household, {"c": "container", "a": "movable"}, [])
    model = TransitionModel(problem)
    state = read_atoms("reachable a", "inside a c", "open c")
    action = GroundAction("navigate-to", ("c",))
    assert Literal(Atom("reachable", ("a",))) in model.effects(state, action)
    assert model.apply(state, action) == state | read_atoms("reachable c")


def test_predicates_that_never_change_are_read_from_the_state(tmp_path, read_atoms):
    (tmp_path / "d.pddl").write_text(
        "(define (domain d) (:predicates (road ?x ?y) (at ?x)) (:action go :parameters (?x ?y)"
        ":precondition (and (road ?x ?y) (at ?x)) :effect (and (at ?y) (not (at ?x)))))"
    )
    (tmp_path / "d.yaml").write_text(
        "predicates:\n  road: {question: '{x} {y}?', statement: '{x} {y}'}\n"
        "  at: {question: '{x}?', statement: '{x}'}\n"
        "actions: {go: {instruction: 'go {x} {y}'}}\n"
    )
    model = TransitionModel(
        Problem.create(Domain.from_files(tmp_path / "d.yaml"), {"a": "object", "b": "object"}, [])
    )
    action = GroundAction("go", ("a", "b"))
    assert model.apply(read_atoms("at a"), action) is None
    assert model.apply(read_atoms("at a", "road a b"), action) == read_atoms("at b", "road a b")
    assert model.apply(read_atoms("at a", "road b a"), action) is None


def random_state(problem: Problem, rng: np.random.Generator) -> State:
    atoms = list(problem.domain.signature.ground_atoms(problem.objects))
    density = rng.uniform(0.1, 0.6)
    return frozenset(
        atom for atom, drawn in zip(atoms, rng.random(len(atoms)) < density, strict=True) if drawn
    )


@pytest.mark.parametrize("name", ["blocksworld", "household", "tabletop"])
def test_effects_and_conditions_say_what_the_simulator_does(name: str, request: pytest.FixtureRequest):
    domain: Domain = request.getfixturevalue(name)
    objects = {
        "blocksworld": {"r": "block", "b": "block", "g": "block", "c1": "column", "c2": "column"},
        "household": {"a": "sliceable", "k": "slicer", "s": "object", "c": "container", "d": "container"},
        "tabletop": {"red": "block", "blue": "block", "green": "block"},
    }[name]
    model = TransitionModel(Problem.create(domain, objects, []))
    rng = np.random.default_rng(7)
    possible = 0
    for _ in range(25):
        state = random_state(model.problem, rng)
        for action in model.actions:
            after = model.apply(state, action)
            assert (after is None) == bool(model.missing(state, action))
            if after is not None:
                possible += 1
                assert after == apply_literals(state, model.effects(state, action))
                # Nothing but the atoms it names decides what an action does.
                known = set(model.atoms_to_know(action))
                assert model.effects(state & known, action) == model.effects(state, action)
    assert possible > 10


class PublishedModel:
    """ViPlan's own domain file, in the same simulator."""

    def __init__(self, domain: Path, problem: Path) -> None:
        self.problem = PDDLReader().parse_problem(str(domain), str(problem))
        self.simulator = UPSequentialSimulator(self.problem)
        self.objects = {o.name: o for o in self.problem.all_objects}
        self.true = self.problem.environment.expression_manager.TRUE()

    def apply(self, state: State, action: GroundAction) -> State | None:
        values = {self._fluent(atom): self.true for atom in state}
        after = self.simulator.apply(
            UPState(values, self.problem),
            self.problem.action(action.name),
            tuple(self.objects[name] for name in action.arguments),
        )
        return (
            None
            if after is None
            else frozenset(a for a in self.atoms if after.get_value(self._fluent(a)).is_true())
        )

    def _fluent(self, atom: Atom):
        return self.problem.fluent(atom.predicate)(*(self.objects[name] for name in atom.arguments))


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("blocksworld", ["simple/simple_problem_0.pddl", "medium/medium_problem_3.pddl"]),
        (
            "household",
            [
                "simple/packing_food_for_work_simple.pddl",
                "medium/cleaning_out_drawers_medium.pddl",
                "medium/sorting_books_medium.pddl",
            ],
        ),
    ],
)
def test_our_domains_mean_what_viplans_mean(
    viplan: Path, name: str, files: list[str], request: pytest.FixtureRequest
):
    rng = np.random.default_rng(3)
    moved = 0
    for file in files:
        problem = Problem.from_file(request.getfixturevalue(name), viplan / name / file)
        ours = TransitionModel(problem)
        published = PublishedModel(viplan / name / "domain.pddl", viplan / name / file)
        published.atoms = list(problem.domain.signature.ground_atoms(problem.objects))
        assert {f.name for f in published.problem.fluents} == set(problem.domain.signature.predicates)
        assert {a.name for a in published.problem.actions} == set(problem.domain.signature.actions)
        fixed = frozenset(atom for atom in problem.initial if atom.predicate in ours.static_predicates)
        state = problem.initial
        for step in range(18):
            if step % 6 == 5:  # also from states no action leads to
                drawn = random_state(problem, rng)
                state = frozenset(a for a in drawn if a.predicate not in ours.static_predicates) | fixed
            actions = [ours.actions[i] for i in rng.permutation(len(ours.actions))[:15]]
            following = [(action, ours.apply(state, action)) for action in actions]
            for action, after in following:
                assert after == published.apply(state, action), f"{action} in {sorted(map(str, state))}"
            changed = [after for _, after in following if after is not None and after != state]
            moved += bool(changed)
            state = changed[0] if changed else state
    assert moved > 6 * len(files)
