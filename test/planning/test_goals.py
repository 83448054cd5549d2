from __future__ import annotations

import pytest

from dream_vla_ros.planning.goal_text import format_goal
from dream_vla_ros.planning.goals import PredicateGoal, WordGoal, goal_from_words
from dream_vla_ros.planning.grounding import VisualGrounder
from dream_vla_ros.planning.interfaces import Observation
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.symbolic_environment import SymbolicEnvironment
from dream_vla_ros.planning.terms import Atom, GroundAction, Literal


@pytest.mark.parametrize("constrained", [False, True])
def test_words_become_predicates(two_columns: Problem, constrained: bool):
    goal = (Literal(Atom("on", ("b", "r"))), Literal(Atom("clear", ("r",)), False))

    class Translator:
        def generate(self, messages, images, *, grammar=None) -> str:
            assert "Put blue on red." in messages[-1]["content"][0]["text"]
            assert (grammar is not None) == constrained
            assert grammar is None or grammar.accepts(format_goal(goal).encode())
            return format_goal(goal)

    found = goal_from_words(
        Translator(), two_columns.scene, "Put blue on red.", Observation(), constrained=constrained
    )
    assert found == goal


def test_a_goal_is_unmet_until_it_is_seen(two_columns: Problem, make_executor):
    world = SymbolicEnvironment(two_columns)
    goal = PredicateGoal(make_executor(two_columns, world))
    assert goal.unmet() == goal.statements()
    world.execute(GroundAction("moveblock", ("r", "c2")), "")
    assert goal.unmet() == ('the blue block is in the column labelled "c3"',)
    world.execute(GroundAction("moveblock", ("b", "c3")), "")
    assert goal.unmet() == ()


def test_what_is_not_clear_is_not_reached(two_columns: Problem, make_executor, scripted, read_atoms):
    world = SymbolicEnvironment(two_columns)
    world.state = read_atoms("incolumn r c2", "incolumn b c3")
    model = scripted(two_columns, world)
    model.lies["(incolumn r c2)"] = 0.5
    grounder = VisualGrounder(model, two_columns.scene)
    # It is believed to hold, but has to be seen.
    goal = PredicateGoal(make_executor(two_columns, world, grounder, given=world.state))
    assert goal.unmet() == ('it is not clear whether the red block is in the column labelled "c2"',)


def test_a_goal_in_words_is_asked_for(two_columns: Problem):
    class Model:
        probability = 0.2

        def yes_probabilities(self, questions, observation):
            assert questions == ['Has this been done: "tidy up"?']
            return [self.probability]

    model = Model()
    goal = WordGoal("tidy up", VisualGrounder(model, two_columns.scene), SymbolicEnvironment(two_columns))
    assert goal.unmet() == goal.statements() == ("tidy up",)
    model.probability = 0.5
    assert goal.unmet() == ("tidy up",)
    model.probability = 0.9
    assert goal.unmet() == ()
