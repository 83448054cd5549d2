"""Tries of a checkpoint through the real nodes, in real time: the graph of the demo, one goal after another.

Scenes, words and what counts are those of the evaluation without DDS, so that the two can be compared try by
try. Looks that the simulation node cannot be asked for, and the language control, are left to that one.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from dream_vla_msgs.msg import ActionChunk
from dream_vla_ros.nodes.client.robot import DreamVLA, NotReadyError
from dream_vla_ros.nodes.conversions import duration_from_msg
from dream_vla_ros.nodes.demo.processes import ProcessGroup, choose_domain
from dream_vla_ros.nodes.outcome import Outcome, Result
from dream_vla_ros.nodes.resources import TABLETOP, robot_config
from dream_vla_ros.nodes.spinning_node import SpinningNode
from dream_vla_ros.training.conditions import CONDITIONS, Condition
from dream_vla_ros.training.environment import ASKED
from dream_vla_ros.training.evaluation import Plan, Try

_READY_S = 120.0
_SERVICE_S = 10.0
_POLL_S = 0.02
_HOLD_S = 1.0
# Images of the new scene must come before the goal does.
_LEAD_S = 0.5
_SIM_OWNER = "simulation node"


def evaluate_in_real_time(
    checkpoint: Path,
    plan: Plan,
    *,
    progress: Callable[[int, int, dict[str, Any]], object] = lambda done, total, last: None,
) -> list[dict[str, Any]]:
    """Try a checkpoint through simulation, controller and policy as processes of their own.

    :returns: One record per try, in the plan's order, as those of ``training.evaluation``.
    :raises ValueError: If the plan has what the graph cannot show.
    :raises RuntimeError: If a node dies or does not come up.
    """
    if plan.wrong:
        raise ValueError("--wrong needs a simulation that judges two goals at once: leave --real-time out")
    for name in plan.conditions:
        condition = CONDITIONS[name]
        if condition.looks_special or condition.strange_colours:
            raise ValueError(f"the simulation node has no condition '{name}': leave --real-time out for it")
    tries = plan.tries()
    records: list[dict[str, Any]] = []
    domain = choose_domain()
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    for name in plan.conditions:
        with tempfile.TemporaryDirectory() as logs, ProcessGroup(Path(logs), domain) as processes:
            _start_nodes(processes, checkpoint, plan, CONDITIONS[name])
            with _Bench() as bench, DreamVLA() as robot:
                _wait_until_ready(robot, processes)
                for one in (one for one in tries if one.condition == name):
                    records.append(_try(one, plan, bench, robot, processes))
                    progress(len(records), len(tries), records[-1])
    return records


class _Bench:
    """The simulation as the tries use it: laying out, and whether the goal holds."""

    def __init__(self) -> None:
        self._spinning = SpinningNode("evaluation")
        node = self._spinning.node
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._set_parameters = node.create_client(SetParameters, "sim/set_parameters")
        self._reset = node.create_client(Trigger, "sim/reset")
        self._since_s: float | None = None
        self.latencies_s: list[float] = []
        node.create_subscription(Bool, "sim/success", self._on_success, latched)
        node.create_subscription(ActionChunk, "action_chunk", self._on_chunk, 10)
        self._spinning.start()

    def __enter__(self) -> _Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._spinning.close()

    @property
    def held_s(self) -> float:
        """How long the goal has held by now; 0 when it does not."""
        since_s = self._since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def lay_out(self, instruction: str, seed: int) -> None:
        """Lay the table out for a task.

        :raises RuntimeError: If the simulation refuses.
        """
        values = {"task": instruction, "seed": seed}
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        call = self._spinning.call_service
        for result in call(self._set_parameters, request, _SERVICE_S, owner=_SIM_OWNER).results:
            if not result.successful:
                raise RuntimeError(f"the simulation refuses '{instruction}', seed {seed}: {result.reason}")
        response = call(self._reset, Trigger.Request(), _SERVICE_S, owner=_SIM_OWNER)
        if not response.success:
            raise RuntimeError(f"the simulation cannot be reset: {response.message}")
        self.latencies_s.clear()
        time.sleep(_LEAD_S)

    def _on_success(self, message: Bool) -> None:
        self._since_s = (self._since_s or time.monotonic()) if message.data else None

    def _on_chunk(self, message: ActionChunk) -> None:
        self.latencies_s.append(duration_from_msg(message.latency))


def _start_nodes(processes: ProcessGroup, checkpoint: Path, plan: Plan, condition: Condition) -> None:
    config = ("--params-file", str(robot_config(TABLETOP)))
    nodes: dict[str, dict[str, object]] = {
        "sim": {"vary_looks": True, "num_blocks": condition.num_blocks},
        "controller": {},
        "policy": {
            "checkpoint": checkpoint.resolve(),
            "objective": plan.objective.value,
            "threads": max((os.cpu_count() or 2) // 2, 1),
        },
    }
    for name, parameters in nodes.items():
        given = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
        processes.start(name, f"dream_vla_ros.nodes.{name}.node", ["--ros-args", *config, *given])


def _wait_until_ready(robot: DreamVLA, processes: ProcessGroup) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        processes.check()
        try:
            return robot.wait_until_ready(1.0)
        except NotReadyError:
            if time.monotonic() > deadline:
                raise


def _try(one: Try, plan: Plan, bench: _Bench, robot: DreamVLA, processes: ProcessGroup) -> dict[str, Any]:
    robot.wait_until_still()
    bench.lay_out(one.scene.instruction, one.seed)
    robot.send(one.words, time_limit_s=plan.time_limit_s)
    done = False
    while not robot.wait(_POLL_S):
        processes.check()
        if bench.held_s >= _HOLD_S and not plan.until_settled:
            done = True
            robot.cancel()
    while 0.0 < bench.held_s < _HOLD_S:
        time.sleep(_POLL_S)
    success = done or bench.held_s >= _HOLD_S
    result = robot.result or Result(Outcome.UNKNOWN, "no result came")
    settled = result.outcome is Outcome.SETTLED
    return {
        **one.record(),
        "success": success,
        "obeyed": ASKED if success else "",
        "end": "done" if success else result.outcome.words,
        "settled": settled,
        "time_s": round(result.duration_s, 2),
        "message": result.message,
        "latency_s": round(statistics.median(bench.latencies_s), 3) if bench.latencies_s else None,
    }
