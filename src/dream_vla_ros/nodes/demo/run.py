"""Carry out the demo's goals one after another on a running graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from dream_vla_ros.nodes.cli.do import describe
from dream_vla_ros.nodes.client.robot import DreamVLA, NotReadyError
from dream_vla_ros.nodes.demo.monitor import DemoMonitor
from dream_vla_ros.nodes.demo.processes import ProcessGroup
from dream_vla_ros.nodes.outcome import Outcome, Result
from dream_vla_ros.report.recording import GoalSpan, Recording
from dream_vla_ros.report.video import LEAD_S, TAIL_S

_POLL_S = 0.05
# Reading a checkpoint and importing its libraries takes a while on a slow disk.
_READY_TIMEOUT_S = 120.0
# The policy configures itself as soon as it is up; one that stays unconfigured has failed to.
_CONFIGURE_TIMEOUT_S = 3.0
_RESET_TIMEOUT_S = 10.0
_SIM_OWNER = "simulation node: 'ros2 run dream_vla_ros sim'"


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True)
class GoalReport:
    """What came of one goal.

    :param reached: What the simulation says of the task; None when it did not say.
    :param latencies_s: Of each chunk, capture of its oldest image to publication.
    :param chunks_accepted: Taken into execution by the controller.
    :param chunks_refused: Refused by the controller.
    :param executed_s: Time the arm carried out actions.
    :param idle_first_s: Time without motion due, before the first chunk.
    :param idle_s: Time without motion due, after it.
    """

    instruction: str
    result: Result
    reached: bool | None
    latencies_s: list[float] = field(default_factory=list)
    chunks_accepted: int = 0
    chunks_refused: int = 0
    executed_s: float = 0.0
    idle_first_s: float = 0.0
    idle_s: float = 0.0


class DemoRun:
    """A graph with simulation, controller and policy, and what is done with it.

    :param robot: Client of the policy.
    :param monitor: Notes what happens.
    :param recording: What the monitor fills; gets the goals.
    :param processes: The nodes, whose death ends the run.
    :param show: Called with a line of news.
    """

    def __init__(
        self,
        robot: DreamVLA,
        monitor: DemoMonitor,
        recording: Recording,
        processes: ProcessGroup,
        show: Callable[[str], None],
    ) -> None:
        self._robot = robot
        self._monitor = monitor
        self._recording = recording
        self._processes = processes
        self._show = show
        node = monitor.spinning.node
        self._set_parameters = node.create_client(SetParameters, "sim/set_parameters")
        self._reset = node.create_client(Trigger, "sim/reset")

    def wait_until_ready(self) -> float:
        """Wait until every part was heard.

        :returns: How long it took [s].
        :raises DemoError: Naming what is missing.
        """
        began = unconfigured_since = time.monotonic()
        while missing := self._missing():
            waited_s = time.monotonic() - began
            if waited_s > _READY_TIMEOUT_S:
                raise DemoError(f"not there after {_READY_TIMEOUT_S:g} s: {', '.join(missing)}; see the logs")
            self._show(f"starting {waited_s:5.1f} s  waiting for {', '.join(missing)}")
            self.pause(_POLL_S)
            if self._robot.policy_state != "unconfigured":
                unconfigured_since = time.monotonic()
            elif time.monotonic() - unconfigured_since > _CONFIGURE_TIMEOUT_S:
                raise DemoError(
                    f"the policy cannot start; the end of its log:\n{self._processes.last_words()}"
                )
        return time.monotonic() - began

    def carry_out(self, instruction: str, *, seed: int, time_limit_s: float) -> GoalReport:
        """Lay the table out for a task, send it as a language goal and wait for its end.

        :param seed: Of the layout.
        :param time_limit_s: Longest time it may take.
        :raises DemoError: If the simulation refuses the task.
        """
        self.lay_out(instruction, seed)
        began_s = self._monitor.now_s()
        self._robot.send(instruction, time_limit_s=time_limit_s)
        while not self._robot.wait(timeout_s=_POLL_S):
            self._processes.check()
            if self._robot.feedback is not None:
                self._show(describe(self._robot.feedback, time_limit_s))
        ended_s = self._monitor.now_s()
        self._processes.check()
        self.pause(TAIL_S)
        result = self._robot.result or Result(Outcome.UNKNOWN, "no result came")
        reached = self._monitor.success
        self._recording.goals.append(GoalSpan(instruction, began_s, ended_s, result.outcome.words, reached))
        return self._report(instruction, result, reached)

    def _missing(self) -> list[str]:
        missing = self._monitor.missing()
        try:
            self._robot.wait_until_ready(0.0, controller=False)
        except NotReadyError:
            missing.append("policy")
        return missing

    def lay_out(self, instruction: str, seed: int) -> None:
        """Lay the table out for a task.

        :raises DemoError: If the simulation refuses the task, or it is done already.
        """
        request = SetParameters.Request(
            parameters=[
                Parameter("task", value=instruction).to_parameter_msg(),
                Parameter("seed", value=seed).to_parameter_msg(),
            ]
        )
        call = self._monitor.spinning.call_service
        answer = call(self._set_parameters, request, _RESET_TIMEOUT_S, owner=_SIM_OWNER)
        for result in answer.results:
            if not result.successful:
                raise DemoError(f"the simulation refuses '{instruction}' with seed {seed}: {result.reason}")
        response = call(self._reset, Trigger.Request(), _RESET_TIMEOUT_S, owner=_SIM_OWNER)
        if not response.success:
            raise DemoError(f"the simulation cannot be reset: {response.message}")
        self.pause(LEAD_S)
        if self._monitor.success:
            raise DemoError(f"'{instruction}' is done before it began with seed {seed}; take another")

    def pause(self, duration_s: float) -> None:
        """Let time pass, and notice a node that dies meanwhile."""
        deadline = time.monotonic() + duration_s
        while time.monotonic() < deadline:
            self._processes.check()
            time.sleep(min(_POLL_S, duration_s))

    def _report(self, instruction: str, result: Result, reached: bool | None) -> GoalReport:
        goal_id = self._robot.goal_id
        latencies = [
            seen.latency_s for seen in self._recording.chunks.values if seen.chunk.goal_id == goal_id
        ]
        state = self._monitor.controller_of(goal_id)
        if state is None:
            return GoalReport(instruction, result, reached, latencies)
        return GoalReport(
            instruction,
            result,
            reached,
            latencies,
            state.chunks_accepted,
            state.chunks_refused,
            state.executed_time,
            state.idle_time_before_first_chunk,
            state.idle_time,
        )
