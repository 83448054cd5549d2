"""Has symbolic actions carried out by the policy, one instruction each."""

from __future__ import annotations

import time

from rclpy.node import Node

from dream_vla_ros.nodes.client.robot import DreamVLA, NotReadyError
from dream_vla_ros.nodes.outcome import Outcome, Result
from dream_vla_ros.nodes.planner.goal import TaskRun
from dream_vla_ros.planning.interfaces import Execution, ExecutionStatus
from dream_vla_ros.planning.outcomes import TaskCode, TaskInterrupted

_POLL_S = 0.05
# The policy may have to end a prediction before it ends a goal; the controller holds the arm long before.
_CANCEL_S = 5.0
# Names the client uses, so that remappings of the planner's own node hold for it, too.
_ACTION = "execute_instruction"
_TOPICS = ("active_goal", "controller_state")
_SERVICES = ("policy/get_state", "controller/stop", "controller/resume")

_CARRIED_OUT = (Outcome.SUCCEEDED, Outcome.SETTLED, Outcome.TIME_LIMIT)
_ENDS = {
    Outcome.EMERGENCY_STOP: TaskCode.EMERGENCY_STOP,
    # Whoever took the arm over wants it for something else.
    Outcome.PREEMPTED: TaskCode.EXECUTION_FAULT,
    Outcome.CANCELED: TaskCode.EXECUTION_FAULT,
    Outcome.POLICY_LOST: TaskCode.EXECUTION_FAULT,
    Outcome.SHUTDOWN: TaskCode.EXECUTION_FAULT,
}


class PolicyArm:
    """Sends instructions to the policy and waits for their ends.

    :param node: The planner; its namespace and remappings hold.
    """

    def __init__(self, node: Node) -> None:
        names = {name: node.resolve_topic_name(name) for name in _TOPICS}
        names |= {name: node.resolve_service_name(name) for name in (_ACTION, *_SERVICES)}
        ros_args = [part for name, full in names.items() for part in ("-r", f"{name}:={full}")]
        self._robot = DreamVLA(namespace=node.get_namespace(), ros_args=ros_args)

    def carry_out(
        self, instruction: str, question: str, *, time_limit_s: float, patience_s: float, run: TaskRun
    ) -> Execution:
        """Carry out an instruction.

        :param question: Whose repeated yes ends it; empty for none.
        :param time_limit_s: Longest time it may take.
        :param patience_s: How long to wait for a policy that takes goals.
        :param run: The task it is part of; ends it, too.
        :raises TaskInterrupted: If the task has to end; the arm has been told to stop then.
        """
        began_s = time.monotonic()
        try:
            self._await_policy(patience_s, run)
            self._robot.send(
                instruction, time_limit_s=time_limit_s, success_question=question, ready_timeout_s=_CANCEL_S
            )
        except NotReadyError as error:
            reason = str(error).removeprefix("not ready after 0 s: ")
            message = f"no policy that takes '{instruction}' within {patience_s:g} s: {reason}"
            raise TaskInterrupted(TaskCode.EXECUTION_FAULT, message) from error
        try:
            while not self._robot.wait(timeout_s=_POLL_S):
                run.check()
        except BaseException:
            self._robot.cancel()
            self._robot.wait(timeout_s=_CANCEL_S)
            raise
        run.check()
        result = self._robot.result or Result(Outcome.UNKNOWN, "the policy gave no result")
        return _execution(instruction, result, time.monotonic() - began_s)

    def close(self) -> None:
        """End an instruction that is still carried out, and leave the graph."""
        self._robot.close()

    def _await_policy(self, patience_s: float, run: TaskRun) -> None:
        deadline = time.monotonic() + patience_s
        while True:
            run.check()
            try:
                self._robot.wait_until_ready(0.0)
                return
            except NotReadyError:
                if time.monotonic() >= deadline:
                    raise
            run.interrupted.wait(_POLL_S)


def _execution(instruction: str, result: Result, duration_s: float) -> Execution:
    if result.outcome in _CARRIED_OUT:
        return Execution(ExecutionStatus.DONE, str(result), duration_s)
    if result.outcome in _ENDS:
        raise TaskInterrupted(_ENDS[result.outcome], f"'{instruction}' ended with {result}")
    return Execution(ExecutionStatus.FAULT, f"the policy ended with {result}", duration_s)
