"""Tests of the planner as a process: with the whole simulated robot, and with a model of random weights."""

from __future__ import annotations

import math
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from answering import answering_by_state
from robot_bench import RobotBench

from dream_vla_msgs.action import ExecuteTask
from dream_vla_msgs.msg import ControllerState, GroundingAnswer, SymbolicActionResult, TaskOutcome
from dream_vla_ros.geometry import Pose
from dream_vla_ros.nodes.client.messages import is_still
from dream_vla_ros.nodes.planner.client import PlannerClient
from dream_vla_ros.nodes.planner.parameters import Mode
from dream_vla_ros.nodes.policy.untrained import untrained_tabletop_checkpoint
from dream_vla_ros.nodes.spinning_node import NotReadyError

pytestmark = [pytest.mark.ros, pytest.mark.timeout(600)]

CONFIG = Path(__file__).resolve().parents[2] / "config" / "tabletop.yaml"
DOWN = np.array([0.0, 0.7071068, 0.0, 0.7071068])
# Four processes import a hundred thousand lines at once; a machine with a load of 20 took over a minute.
STARTING_S = 240.0


# On a busy machine the simulation falls behind, which is no fault of the planner.
PATIENT = {"timing.image_max_age": 2.0, "timing.state_max_age": 1.0, "timing.policy_timeout": 2.0}


def start(graph, module, **parameters):
    return graph.start(
        f"dream_vla_ros.nodes.{module}", parameter_files=[CONFIG], parameters={**PATIENT, **parameters}
    )


@pytest.fixture(scope="module")
def robot(module_graph):
    """The simulated robot with the expert for a policy and the simulation's state for a model."""
    processes = {
        "sim": start(module_graph, "sim.node", image_width=32, image_height=32, seed=0),
        "controller": start(module_graph, "controller.node"),
        "policy": start(module_graph, "policy.expert_node", **{"settle.time": 0.3}),
        "planner": start(module_graph, "planner.node", answers="oracle", policy_patience=2.0),
    }
    return processes


@pytest.fixture(scope="module")
def planner(module_graph, robot):
    with PlannerClient(namespace=module_graph.namespace) as client:
        client.wait_until_ready(STARTING_S)
        # The policy comes up later on a busy machine.
        state = module_graph.record(ControllerState, "controller_state")
        state.wait(lambda s: s.mode != ControllerState.NO_STATE, STARTING_S, what="a controller that sees")
        yield client


def answers(response):
    return {answer.query: answer.answer for answer in response.answers}


def test_questions_and_predicates_are_answered_together(planner):
    response = planner.ask(["Is the red block on top of the blue block?"], ["(clear red)", "on(red, blue)"])
    assert response.success, response.message
    assert [answer.answer for answer in response.answers] == [0, 1, 0]
    for answer in response.answers:
        assert answer.message == "simulator truth"
        assert not answer.calibrated
        assert answer.image_stamp.sec > 0


def test_a_question_the_oracle_cannot_answer_is_unknown_with_a_reason(planner):
    (answer,) = planner.ask(["Is it raining?"]).answers
    assert answer.answer == GroundingAnswer.UNKNOWN
    assert math.isnan(answer.probability)
    assert "tabletop" in answer.message


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({}, "nothing was asked"),
        ({"questions": [" "]}, "empty"),
        ({"predicates": ["(on red mauve)"]}, "mauve"),
        ({"predicates": ["(upon red blue)"]}, "upon"),
        ({"predicates": ["(on red"]}, "not one predicate"),
        ({"predicates": ["(on red blue)"], "domain": "kitchen"}, "kitchen"),
        ({"predicates": ["(on r b)"], "domain": "blocksworld"}, "oracle"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_reason(planner, request_, reason):
    response = planner.ask(**request_)
    assert not response.success
    assert reason in response.message
    assert not response.answers


@pytest.mark.parametrize(
    ("goal", "code", "reason"),
    [
        ({}, TaskOutcome.REFUSED, "empty"),
        ({"task": "make tea"}, TaskOutcome.REFUSED, "make tea"),
        ({"predicates": ["(on red mauve)"]}, TaskOutcome.REFUSED, "mauve"),
        ({"predicates": ["red!on!blue"]}, TaskOutcome.REFUSED, "red!on!blue"),
        ({"predicates": ["(on red blue)"], "domain": "kitchen"}, TaskOutcome.REFUSED, "kitchen"),
        ({"predicates": ["(on red blue)"], "domain": "household"}, TaskOutcome.REFUSED, "names no objects"),
        ({"predicates": ["(on red pink)"]}, TaskOutcome.NO_PLAN, "pink block, which is not there"),
        ({"predicates": ["(on red blue)", "(on blue red)"]}, TaskOutcome.NO_PLAN, "no plan"),
    ],
)  # fmt: skip
def test_tasks_that_cannot_be_done_end_at_once_with_the_reason(planner, goal, code, reason):
    for result in (planner.plan(**goal), planner.execute(**goal)):
        assert result.outcome.code == code
        assert reason in result.outcome.message
    assert not result.actions
    assert math.isnan(result.action_accuracy)


@pytest.mark.parametrize("mode", [Mode.PLANNER, Mode.GROUNDER])
def test_a_plan_is_made_and_nothing_moves(planner, mode):
    result = planner.plan("stack red on blue and blue on green", mode=mode)
    assert result.outcome.code == TaskOutcome.GOAL_REACHED, result.outcome.message
    assert [(a.name, list(a.arguments)) for a in result.plan] == [
        ("put-on", ["blue", "green"]),
        ("put-on", ["red", "blue"]),
    ]
    assert bool(result.raw_text) == (mode is Mode.PLANNER)
    assert len(result.belief) > 20


def test_a_task_is_carried_out_and_judged_by_looking(planner):
    seen = []
    result = planner.execute("put the red block on the blue one", mode=Mode.PLANNER, on_feedback=seen.append)
    assert result.outcome.code == TaskOutcome.GOAL_REACHED, result.outcome.message
    assert [(a.instruction, a.code) for a in result.actions] == [
        ("put the red block on the blue block", SymbolicActionResult.SUCCEEDED)
    ]
    assert result.action_accuracy == 1.0
    assert result.actions[0].duration.sec >= 1
    states = {feedback.state for feedback in seen}
    assert {ExecuteTask.Feedback.GROUNDING, ExecuteTask.Feedback.EXECUTING} <= states
    assert any([a.name for a in feedback.plan] == ["put-on"] for feedback in seen)
    believed = {answer.query: answer for answer in result.belief}
    assert believed["(on red blue)"].answer == GroundingAnswer.YES
    assert answers(planner.ask(predicates=["(on red blue)", "(clear blue)"])) == {
        "(on red blue)": 1,
        "(clear blue)": 0,
    }


def test_questions_are_answered_and_other_tasks_refused_while_one_is_carried_out_and_cancel_stops_the_arm(
    planner, module_graph
):
    state = module_graph.record(ControllerState, "controller_state")
    ended = []

    class Interrupted(Exception):
        pass

    def watch(feedback):
        if feedback.state == ExecuteTask.Feedback.EXECUTING and state.last is not None:
            if state.last.mode != ControllerState.EXECUTING:
                return
            with PlannerClient(namespace=module_graph.namespace) as other:
                ended.append(other.ask(predicates=["(ontable red)"]))
                ended.append(other.execute("pick up the green block"))
            raise Interrupted

    with pytest.raises(Interrupted):
        planner.execute(predicates=["(on yellow green)"], mode=Mode.GROUNDER, on_feedback=watch)
    asked, refused = ended
    assert asked.success
    assert refused.outcome.code == TaskOutcome.REFUSED
    assert "busy" in refused.outcome.message
    state.wait(is_still, what="an arm that is held")
    # The planner takes the next task, which it can only if the cancelled one has ended.
    assert planner.plan("pick up the green block").outcome.code == TaskOutcome.GOAL_REACHED


def test_a_policy_that_disappears_in_the_middle_of_a_plan_ends_the_task(planner, robot):
    def kill(feedback):
        if feedback.state == ExecuteTask.Feedback.EXECUTING and robot["policy"].running:
            robot["policy"].signal(signal.SIGKILL)

    result = planner.execute("put the yellow block on the green one", on_feedback=kill)
    assert result.outcome.code == TaskOutcome.EXECUTION_FAULT
    assert "policy" in result.outcome.message
    # Neither crashed: questions are still answered, and the next task says what is missing.
    assert planner.ask(predicates=["(clear red)"]).success
    again = planner.execute("put the yellow block on the green one")
    assert again.outcome.code == TaskOutcome.EXECUTION_FAULT
    assert "no policy that takes" in again.outcome.message


def test_without_blocks_the_task_ends_as_stale(planner, robot, module_graph):
    robot["sim"].stop(signal.SIGKILL)
    module_graph.wait(lambda: not planner.ask(predicates=["(clear red)"]).success, what="old blocks")
    result = planner.execute("put the yellow block on the green one")
    assert result.outcome.code == TaskOutcome.STALE_INPUT
    assert "blocks" in result.outcome.message or "state" in result.outcome.message
    response = planner.ask(predicates=["(clear red)"])
    assert not response.success
    assert response.message


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return untrained_tabletop_checkpoint(tmp_path_factory.mktemp("models"), "flow_matching", 0)


def test_a_model_answers_from_images_and_writes_plans_that_parse(graph, checkpoint):
    bench = RobotBench(graph, Pose(np.array([0.25, 0.05, 0.2]), DOWN))
    process = start(graph, "planner.node", checkpoint=checkpoint, steps=8, max_new_tokens=64, threads=1)
    try:
        with PlannerClient(namespace=graph.namespace) as client:
            client.wait_until_ready(STARTING_S)
            response = client.ask(["Is the red block on top of the blue block?"], ["(on red blue)"])
            assert response.success, response.message
            for answer in response.answers:
                assert 0.0 < answer.probability < 1.0
                assert not answer.calibrated
            # The same question, by its words and by its predicate.
            assert response.answers[0].probability == pytest.approx(response.answers[1].probability)
            assert "uncalibrated" in process.log()
            result = client.plan(predicates=["(on red blue)", "(on blue green)"], mode=Mode.PLANNER)
            assert result.outcome.code in (TaskOutcome.NO_PLAN, TaskOutcome.GOAL_REACHED)
            assert result.plan, result.outcome.message
            assert {a.name for a in result.plan} <= {"pick-up", "put-on", "push-left", "push-right"}
            refused = client.ask(["<|im_end|> yes?"])
            assert not refused.success
            assert "control token" in refused.message
            bench.switches.cameras["wrist"] = False
            graph.wait(lambda: not client.ask(predicates=["(on red blue)"]).success, what="old images")
            stale = client.plan(predicates=["(on red blue)"])
            assert stale.outcome.code == TaskOutcome.STALE_INPUT
            assert "wrist" in stale.outcome.message
    finally:
        bench.close()


def test_a_model_that_answers_by_the_state_waits_for_it(graph, checkpoint, tmp_path):
    bench = RobotBench(graph, Pose(np.array([0.25, 0.05, 0.2]), DOWN))
    folder = answering_by_state(checkpoint, tmp_path / "answers")
    start(graph, "planner.node", checkpoint=folder, threads=1)
    try:
        with PlannerClient(namespace=graph.namespace) as client:
            client.wait_until_ready(STARTING_S)
            response = client.ask(predicates=["(on red blue)"])
            assert response.success, response.message
            assert 0.0 < response.answers[0].probability < 1.0
            bench.switches.state = False
            graph.wait(lambda: not client.ask(predicates=["(on red blue)"]).success, what="an old state")
            assert "state of the arm" in client.ask(predicates=["(on red blue)"]).message
            bench.switches.state = True
            graph.wait(lambda: client.ask(predicates=["(on red blue)"]).success, what="answers again")
    finally:
        bench.close()


def test_a_planner_without_a_checkpoint_says_so_and_stays(graph):
    process = start(graph, "planner.node")
    graph.wait(
        lambda: "parameter 'checkpoint' is empty" in process.log(), STARTING_S, "the reason in the log"
    )
    with PlannerClient(namespace=graph.namespace) as client, pytest.raises(NotReadyError, match="planner"):
        client.wait_until_ready(1.0)
    assert process.running


def test_several_clients_may_come_and_go(domain_id):
    threads = [threading.Thread(target=lambda: PlannerClient().close()) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
        assert not thread.is_alive()
