"""Tests of the policy node as a process: goals over real DDS with a small checkpoint of random weights."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from policy_rig import (
    ARM,
    CHUNK_INTERVAL_S,
    IMAGE_MAX_AGE_S,
    change_state,
    outcome,
    result_without_waiting,
    send,
    set_parameter,
    state_of,
)
from robot_bench import stamp_of

from dream_vla_msgs.msg import GroundingAnswer, InstructionOutcome
from dream_vla_msgs.srv import GroundPredicates
from dream_vla_ros.nodes.client.robot import Outcome, Progress
from dream_vla_ros.nodes.conversions import time_to_msg, uuid_from_msg

pytest_plugins = ["policy_rig"]
LAYOUT = Path(__file__).resolve().parents[2] / "models" / "tabletop_tiny"
pytestmark = pytest.mark.ros


def test_goal_yields_chunks_that_belong_to_it_and_to_the_oldest_image(robot, module_graph, bench, checkpoint):
    goal_id = send(robot, module_graph, bench)
    chunks = module_graph.wait(
        lambda: bench.chunks_of(goal_id) if len(bench.chunks_of(goal_id)) >= 3 else None, what="three chunks"
    )
    for chunk in chunks:
        assert stamp_of(chunk) in bench.stamps["wrist"]
        assert chunk.header.frame_id == "base_link"
        assert len(chunk.steps) == 8
        assert chunk.period.nanosec == 200_000_000
        assert chunk.instruction == "pick up the red block"
        assert chunk.model == checkpoint.name
        assert chunk.objective == "flow_matching"
        assert 0 < chunk.latency.nanosec < IMAGE_MAX_AGE_S * 1e9 + 1e9
        assert all(np.isfinite([s.translation.x, s.rotation.z, s.gripper]).all() for s in chunk.steps)
        assert {0.0 <= step.gripper <= 1.0 for step in chunk.steps} == {True}
    assert [chunk.chunk_id for chunk in chunks] == list(
        range(chunks[0].chunk_id, chunks[0].chunk_id + len(chunks))
    )
    gaps = np.diff([stamp_of(chunk) for chunk in chunks]) * 1e-9
    # Images come every 0.05 s, so a capture lies up to that much off the prediction's start.
    assert (gaps >= CHUNK_INTERVAL_S - 0.06).all(), f"predicted more often than paced: {gaps}"

    feedback = module_graph.wait(
        lambda: robot.feedback if robot.feedback and robot.feedback.chunks >= 3 else None, what="feedback"
    )
    assert feedback.progress is Progress.EXECUTING
    assert feedback.pose is not None
    assert feedback.pose.position == pytest.approx(ARM.position)
    assert feedback.latency_s > 0.0
    robot.cancel()
    assert outcome(robot).chunks >= 3


def test_heartbeat_goes_on_while_predicting(robot, module_graph, bench):
    start = len(bench.heartbeats)
    goal_id = send(robot, module_graph, bench)
    module_graph.wait(lambda: len(bench.chunks_of(goal_id)) >= 2, what="two chunks")
    beats = bench.heartbeats.entries[start:]
    gaps = np.diff([arrival for arrival, _ in beats])
    assert np.median(gaps) < 0.15
    # Half of the silence after which the controller would hold the arm.
    assert np.percentile(gaps, 95) < 0.25


def test_cancel_silences_the_goal_before_its_result(robot, module_graph, bench):
    goal_id = send(robot, module_graph, bench)
    module_graph.wait(lambda: bench.chunks_of(goal_id), what="a chunk")
    robot.cancel()
    result = outcome(robot)
    assert result.outcome is Outcome.CANCELED
    assert "canceled" in result.message
    assert bench.active_goal() is None
    count = len(bench.chunks_of(goal_id))
    # Longer than a prediction's interval in heartbeats: a further chunk would have come.
    bench.wait_beats(12)
    assert len(bench.chunks_of(goal_id)) == count


def test_newer_goal_takes_over(robot, clients, module_graph, bench):
    first = send(robot, module_graph, bench)
    module_graph.wait(lambda: bench.chunks_of(first), what="a chunk")
    second = send(clients[1], module_graph, bench, "push the green block to the left")
    result = outcome(robot)
    assert result.outcome is Outcome.PREEMPTED
    assert "push the green block" in result.message
    module_graph.wait(lambda: bench.chunks_of(second), what="a chunk of the second goal")
    began = next(
        arrival for arrival, beat in bench.heartbeats.entries if uuid_from_msg(beat.goal_id) == second
    )
    late = [
        arrival - began
        for arrival, chunk in bench.chunks.entries
        if uuid_from_msg(chunk.goal_id) == first and arrival > began
    ]
    # Two topics: one chunk may overtake the heartbeat, none may follow it for long.
    assert all(delay < 0.1 for delay in late)
    assert bench.active_goal() == second


def test_time_limit_ends_the_goal(robot, module_graph, bench):
    send(robot, module_graph, bench, time_limit_s=0.5)
    result = outcome(robot)
    assert result.outcome is Outcome.TIME_LIMIT
    assert "0.5 s" in result.message
    assert 0.5 <= result.duration_s < 1.5


@pytest.mark.parametrize(
    ("instruction", "question", "complaint"),
    [
        ("  ", "", "instruction is empty"),
        ("pick up the red block", "Is it up?", "ground_predicates.*not there"),
    ],
)
def test_goal_that_cannot_be_carried_out_is_refused_with_the_reason(
    robot, bench, instruction, question, complaint
):
    count = len(bench.chunks)
    robot.send(instruction, success_question=question)
    result = outcome(robot)
    assert result.outcome is Outcome.REFUSED
    assert re.search(complaint, result.message), result.message
    assert result.chunks == 0
    assert len(bench.chunks) == count


def test_success_question_answered_yes_twice_in_a_row_succeeds(robot, module_graph, bench):
    answers = [GroundingAnswer.YES, GroundingAnswer.NO, GroundingAnswer.YES, GroundingAnswer.YES]
    asked = []

    def answer(request, response):
        asked.append(list(request.questions))
        response.success = True
        choice = answers[min(len(asked), len(answers)) - 1]
        response.answers = [
            GroundingAnswer(
                query=request.questions[0],
                answer=choice,
                probability=0.9 if choice == GroundingAnswer.YES else 0.1,
                image_stamp=time_to_msg(module_graph.now_ns()),
            )
        ]
        return response

    service = module_graph.node.create_service(GroundPredicates, "ground_predicates", answer)
    try:

        def accepted():
            asked.clear()
            robot.send("pick up the red block", success_question="Is the red block up?")
            return outcome(robot).outcome is not Outcome.REFUSED

        module_graph.wait(accepted, what="the policy to find the planner")
        assert robot.result.outcome is Outcome.SUCCEEDED
        assert "Is the red block up?" in robot.result.message
        assert asked == [["Is the red block up?"]] * 4
    finally:
        module_graph.node.destroy_service(service)


def test_diagnostics_tell_rates_and_latency(robot, module_graph, bench):
    recorder = module_graph.record(DiagnosticArray, "/diagnostics")
    name = module_graph.namespace.lstrip("/")
    array = recorder.wait(
        lambda array: any(name in status.name for status in array.status), what="diagnostics of the node"
    )
    figures = {
        status.hardware_id: {value.key: value.value for value in status.values} for status in array.status
    }
    assert float(figures["camera wrist"]["rate [Hz]"]) == pytest.approx(20.0, rel=0.3)
    assert figures["inference"]["objective"] == "flow_matching"
    assert int(figures["inference"]["predictions"]) >= 0


def test_lifecycle_ends_the_goal_swaps_the_checkpoint_and_survives_wrong_ones(
    robot, module_graph, bench, node, checkpoint, tmp_path
):
    send(robot, module_graph, bench)
    assert not change_state(module_graph, Transition.TRANSITION_ACTIVATE), "activated twice"
    assert change_state(module_graph, Transition.TRANSITION_DEACTIVATE)
    assert outcome(robot).outcome is Outcome.SHUTDOWN
    assert bench.active_goal() is None
    result = result_without_waiting(module_graph, "pick up the red block")
    assert result.outcome.code == InstructionOutcome.REFUSED
    assert "inactive" in result.outcome.message

    assert change_state(module_graph, Transition.TRANSITION_CLEANUP)
    assert set_parameter(module_graph, "checkpoint", string_value="/no/such/checkpoint").successful
    assert not change_state(module_graph, Transition.TRANSITION_CONFIGURE)
    assert state_of(module_graph) == "unconfigured"
    assert "/no/such/checkpoint" in node.log()

    from dream_vla_ros.model.initialize import initialize_checkpoint

    other = initialize_checkpoint(LAYOUT, tmp_path / "random_other", "flow_matching", seed=1)
    for folder in (other, checkpoint):
        if state_of(module_graph) == "active":
            assert change_state(module_graph, Transition.TRANSITION_DEACTIVATE)
            assert change_state(module_graph, Transition.TRANSITION_CLEANUP)
        assert set_parameter(module_graph, "checkpoint", string_value=str(folder)).successful
        assert change_state(module_graph, Transition.TRANSITION_CONFIGURE)
        assert change_state(module_graph, Transition.TRANSITION_ACTIVATE)
        goal_id = send(robot, module_graph, bench)
        module_graph.wait(lambda goal_id=goal_id: bench.chunks_of(goal_id), what="a chunk after the swap")
        assert bench.chunks_of(goal_id)[0].model == folder.name


def test_parameters_out_of_range_are_refused_with_the_reason(module_graph, bench):
    result = set_parameter(module_graph, "default_time_limit", double_value=-1.0)
    assert not result.successful
    result = set_parameter(module_graph, "objective", string_value="guessing")
    assert not result.successful
    assert "flow_matching" in result.reason
    assert set_parameter(module_graph, "default_time_limit", double_value=60.0).successful


def test_wrong_parameters_end_the_process_with_a_message(graph):
    process = graph.start("dream_vla_ros.nodes.policy.node", parameters={"robot": "test"})
    assert process.wait(60.0) == 2
    assert "cameras.names" in process.log()
