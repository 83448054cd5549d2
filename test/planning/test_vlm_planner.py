from __future__ import annotations

import numpy as np
import pytest

from dream_vla_ros.planning.domain import Domain
from dream_vla_ros.planning.goals import WordGoal
from dream_vla_ros.planning.grammar import plan_grammar
from dream_vla_ros.planning.grounding import VisualGrounder
from dream_vla_ros.planning.interfaces import Execution
from dream_vla_ros.planning.oracle import Oracle
from dream_vla_ros.planning.outcomes import ActionCode, Progress, Stage, TaskCode, TaskInterrupted
from dream_vla_ros.planning.plan_text import format_plan
from dream_vla_ros.planning.problem import Problem
from dream_vla_ros.planning.session import Limits
from dream_vla_ros.planning.symbolic_environment import SymbolicEnvironment
from dream_vla_ros.planning.terms import GroundAction, Literal
from dream_vla_ros.planning.vlm_planner import VlmPlanner

RED = GroundAction("moveblock", ("r", "c2"))
BLUE = GroundAction("moveblock", ("b", "c3"))
BACK = GroundAction("moveblock", ("r", "c1"))


@pytest.fixture
def run(two_columns: Problem, make_executor, scripted):
    """Let a model that writes given texts carry out the task."""

    def run(*texts: str | list[GroundAction], **options):
        world = SymbolicEnvironment(two_columns)
        written = [t if isinstance(t, str) else format_plan(two_columns.domain, t) for t in texts]
        model = scripted(two_columns, world, written)
        executor = make_executor(two_columns, world, VisualGrounder(model, two_columns.scene))
        options.setdefault("limits", Limits(steps=6))
        result = VlmPlanner(executor, model, world, **options).run()
        return result, model, world

    return run


def test_only_the_first_action_is_done_before_the_model_is_asked_again(run, blocksworld: Domain):
    result, model, _ = run([RED, BLUE], [BLUE])
    assert result.code is TaskCode.GOAL_REACHED
    assert [record.action for record in result.actions] == [RED, BLUE]
    assert result.action_accuracy == 1.0
    assert len(model.prompts) == result.plans == 2
    assert '"outcome": "done"' not in model.prompts[0]
    assert '"outcome": "done"' in model.prompts[1]
    assert result.texts[0] == format_plan(blocksworld, [RED, BLUE])


def test_the_task_in_words_is_told_beside_the_goal(run):
    _, model, _ = run([RED], [BLUE], task="sort the blocks")
    goal = model.prompts[0].split("## Goal\n")[1].split("\n\n")[0].splitlines()
    assert goal[0] == "- Sort the blocks."
    assert len(goal) == 3


def test_a_goal_that_holds_needs_no_plan(two_columns: Problem, make_executor, scripted):
    done = Problem.create(two_columns.domain, two_columns.objects, ["(on r b)"], two_columns.initial)
    world = SymbolicEnvironment(done)
    result = VlmPlanner(make_executor(done, world), scripted(done, world), world).run()
    assert (result.code, result.actions, result.plans) == (TaskCode.GOAL_REACHED, (), 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I cannot plan.", "no JSON"),
        ('{"plan": [{"action": "fly", "parameters": []}]}', "no action 'fly'"),
        ('{"plan": [{"action": "moveblock", "parameters": ["r"]}]}', "takes 2 objects, not 1"),
        ('{"plan": [{"action": "moveblock", "parameters": ["c1", "r"]}]}', "'c1' is a column"),
        ('{"plan": [{"action": "moveblock", "parameters": ["x", "c2"]}]}', "no object 'x'"),
        ('{"plan": []}', "the plan is empty, but"),
        ("", "the answer is empty"),
    ],
)
def test_the_models_errors_are_fed_back(run, text: str, message: str):
    result, model, _ = run(text, [RED], [BLUE])
    assert result.code is TaskCode.GOAL_REACHED
    assert [record.code for record in result.actions] == [
        ActionCode.INVALID,
        ActionCode.SUCCEEDED,
        ActionCode.SUCCEEDED,
    ]
    assert message in result.actions[0].message
    assert message.replace('"', '\\"') in model.prompts[1]
    assert result.action_accuracy == pytest.approx(2 / 3)


def test_an_action_that_is_not_possible_is_fed_back(run):
    result, model, _ = run([BLUE], [RED], [BLUE])
    assert result.code is TaskCode.GOAL_REACHED
    assert result.actions[0].code is ActionCode.PRECONDITIONS_MISSING
    assert "topmost" in model.prompts[1]


def test_faults_late_in_a_plan_do_no_harm_early(run):
    text = '{"plan": [{"action": "moveblock", "parameters": ["r", "c2"]}, {"action": "fly"}]}'
    result, _, _ = run(text, [BLUE])
    assert result.code is TaskCode.GOAL_REACHED


def test_steps_run_out(run):
    result, model, _ = run("never a plan")
    assert result.code is TaskCode.STEPS_EXHAUSTED
    assert len(result.actions) == 6
    assert "the blue block is in the column" in result.message
    assert "failed" not in model.prompts[1]
    assert "has now failed 2 times in a row; do something else" in model.prompts[2]


def test_going_in_circles_is_told(run):
    result, model, _ = run([RED], [BACK], [RED], [BACK], [RED], [BACK])
    assert result.code is TaskCode.STEPS_EXHAUSTED
    assert "going in circles" not in model.prompts[3]
    assert "going in circles" in model.prompts[4]


def test_a_failed_action_is_seen_and_planned_for_anew(two_columns: Problem, make_executor):
    world = SymbolicEnvironment(two_columns, failure_probability=0.7, rng=np.random.default_rng(3))
    oracle = Oracle(two_columns, world)
    executor = make_executor(two_columns, world, VisualGrounder(oracle, two_columns.scene))
    result = VlmPlanner(executor, oracle, world).run()
    assert result.code is TaskCode.GOAL_REACHED
    assert ActionCode.EFFECTS_MISSING in {record.code for record in result.actions}
    assert two_columns.reached(world.state)


def test_an_interruption_keeps_what_was_done(run, monkeypatch: pytest.MonkeyPatch):
    done: list[GroundAction] = []
    execute = SymbolicEnvironment.execute

    def interrupted(self, action, instruction) -> Execution:
        if done:
            raise TaskInterrupted(TaskCode.EMERGENCY_STOP, "the button was pressed")
        done.append(action)
        return execute(self, action, instruction)

    monkeypatch.setattr(SymbolicEnvironment, "execute", interrupted)
    result, _, _ = run([RED], [BLUE])
    assert (result.code, result.message) == (TaskCode.EMERGENCY_STOP, "the button was pressed")
    assert [record.action for record in result.actions] == [RED]


def test_progress_is_reported(run):
    seen: list[Progress] = []
    run([RED, BLUE], [BLUE], report=seen.append)
    executing = [progress for progress in seen if progress.stage is Stage.EXECUTING]
    assert [(p.step, p.plan) for p in executing] == [(0, (RED, BLUE)), (1, (BLUE,))]
    assert seen[0].stage is Stage.GROUNDING
    assert seen[-1].last is not None
    assert seen[-1].belief


def test_facts_and_grammar_reach_the_model(two_columns: Problem, make_executor, scripted, read_atoms):
    world = SymbolicEnvironment(two_columns)
    model = scripted(two_columns, world, [format_plan(two_columns.domain, [RED])])
    grammars = []
    generate = model.generate
    model.generate = lambda messages, images, *, grammar=None: (
        grammars.append(grammar),
        generate(messages, images),
    )[1]
    grammar = plan_grammar(two_columns.scene)
    (fact,) = read_atoms("leftof c1 c2")
    planner = VlmPlanner(
        make_executor(two_columns, world), model, world, facts=[Literal(fact)], grammar=grammar
    )
    plan = planner.write_plan()
    assert plan.actions == (RED,)
    assert grammars == [grammar]
    assert "directly to the left of" in model.prompts[0]
    assert world.state == two_columns.initial


def test_a_task_may_be_given_in_words_only(two_columns: Problem, make_executor, scripted):
    problem = Problem.create(two_columns.domain, two_columns.objects, [], two_columns.initial)
    world = SymbolicEnvironment(problem)
    model = scripted(problem, world, [format_plan(problem.domain, [RED])])
    answers = iter([0.1, 0.9])
    yes = model.yes_probabilities
    model.yes_probabilities = lambda questions, observation: (
        [next(answers)] if questions[0].startswith("Has this been done") else yes(questions, observation)
    )
    grounder = VisualGrounder(model, problem.scene)
    goal = WordGoal("free the blue block", grounder, world)
    result = VlmPlanner(make_executor(problem, world, grounder), model, world, goal=goal).run()
    assert result.code is TaskCode.GOAL_REACHED
    assert len(result.actions) == 1
    assert "Free the blue block." in model.prompts[0]
