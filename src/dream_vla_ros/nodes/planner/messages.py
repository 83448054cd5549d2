"""What planning says, as messages."""

from __future__ import annotations

from collections.abc import Sequence

from dream_vla_msgs.action import ExecuteTask, PlanTask
from dream_vla_msgs.msg import GroundingAnswer, SymbolicAction, SymbolicActionResult, TaskOutcome
from dream_vla_ros.nodes.conversions import duration_from_msg, duration_to_msg, time_to_msg
from dream_vla_ros.nodes.planner.engine import PlanResult
from dream_vla_ros.nodes.planner.goal import TaskRequest
from dream_vla_ros.nodes.planner.parameters import Mode
from dream_vla_ros.planning.outcomes import (
    ActionRecord,
    Answer,
    Progress,
    Stage,
    TaskCode,
    TaskResult,
)
from dream_vla_ros.planning.terms import GroundAction

_MODES = {
    ExecuteTask.Goal.MODE_VLM_PLANNER: Mode.PLANNER,
    ExecuteTask.Goal.MODE_VLM_GROUNDER: Mode.GROUNDER,
}


def request_from_msg(goal: ExecuteTask.Goal | PlanTask.Goal) -> TaskRequest:
    """Read a goal.

    :raises ValueError: If its mode is none of those there are, or a time is negative.
    """
    if goal.mode != goal.MODE_DEFAULT and goal.mode not in _MODES:
        raise ValueError(f"mode {goal.mode} is none of MODE_DEFAULT, MODE_VLM_PLANNER, MODE_VLM_GROUNDER")
    executes = isinstance(goal, ExecuteTask.Goal)
    time_limit_s = duration_from_msg(goal.instruction_time_limit) if executes else 0.0
    if time_limit_s < 0.0:
        raise ValueError(f"instruction_time_limit is {time_limit_s:g} s, which is negative")
    return TaskRequest(
        goal.task,
        tuple(goal.goal_predicates),
        goal.domain,
        _MODES.get(goal.mode),
        int(goal.max_steps) if executes else 0,
        time_limit_s,
    )


def answer_to_msg(answer: Answer) -> GroundingAnswer:
    """Write an answer."""
    return GroundingAnswer(
        query=answer.query,
        answer=int(answer.code),
        probability=float(answer.probability),
        calibrated=answer.calibrated,
        image_stamp=time_to_msg(answer.stamp_ns or 0),
        message=answer.message,
    )


def action_to_msg(action: GroundAction) -> SymbolicAction:
    """Write an action."""
    return SymbolicAction(name=action.name, arguments=list(action.arguments))


def record_to_msg(record: ActionRecord | None) -> SymbolicActionResult:
    """Write what came of an action; UNKNOWN for none."""
    if record is None:
        return SymbolicActionResult(code=SymbolicActionResult.UNKNOWN)
    return SymbolicActionResult(
        action=action_to_msg(record.action),
        code=int(record.code),
        instruction=record.instruction,
        message=record.message,
        duration=duration_to_msg(record.duration_s),
    )


def outcome_to_msg(code: TaskCode, message: str) -> TaskOutcome:
    """Write how a task ended."""
    if not message and code is not TaskCode.GOAL_REACHED:
        message = code.name.lower().replace("_", " ")
    return TaskOutcome(code=int(code), message=message)


def task_result_to_msg(result: TaskResult, elapsed_s: float) -> ExecuteTask.Result:
    """Write the result of a task that was carried out."""
    return ExecuteTask.Result(
        outcome=outcome_to_msg(result.code, result.message),
        actions=[record_to_msg(record) for record in result.actions],
        action_accuracy=float(result.action_accuracy),
        belief=_answers(result.belief),
        duration=duration_to_msg(elapsed_s),
    )


def plan_result_to_msg(result: PlanResult, elapsed_s: float) -> PlanTask.Result:
    """Write the result of a task that was planned only."""
    return PlanTask.Result(
        outcome=outcome_to_msg(result.code, result.message),
        plan=[action_to_msg(action) for action in result.plan],
        belief=_answers(result.belief),
        raw_text=result.text,
        duration=duration_to_msg(elapsed_s),
    )


def task_feedback(progress: Progress | None, elapsed_s: float, *, waiting: bool) -> ExecuteTask.Feedback:
    """Write where a task is.

    :param waiting: Whether it waits for images.
    """
    feedback = ExecuteTask.Feedback(elapsed=duration_to_msg(elapsed_s))
    if progress is not None:
        feedback.state = int(progress.stage)
        feedback.step = progress.step
        feedback.plan = [action_to_msg(action) for action in progress.plan]
        feedback.last_action = record_to_msg(progress.last)
        feedback.belief = _answers(progress.belief)
    if waiting:
        feedback.state = int(Stage.WAITING_FOR_IMAGES)
    return feedback


def plan_feedback(progress: Progress | None, elapsed_s: float, *, waiting: bool) -> PlanTask.Feedback:
    """Write where planning is.

    :param waiting: Whether it waits for images.
    """
    stage = Stage.WAITING_FOR_IMAGES if waiting or progress is None else progress.stage
    return PlanTask.Feedback(state=int(stage), elapsed=duration_to_msg(elapsed_s))


def _answers(answers: Sequence[Answer]) -> list[GroundingAnswer]:
    return [answer_to_msg(answer) for answer in answers]
