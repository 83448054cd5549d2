"""The client side of a running planner: ask about the scene, plan a task, have it carried out.

.. code-block:: python

    from dream_vla_ros.nodes.planner.client import PlannerClient

    with PlannerClient() as planner:
        print(planner.ask(["Is the red block on top of the blue block?"]))
        result = planner.execute("stack red on blue and blue on green")
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from lifecycle_msgs.srv import GetState
from rclpy.action import ActionClient

from dream_vla_msgs.action import ExecuteTask, PlanTask
from dream_vla_msgs.srv import GroundPredicates
from dream_vla_ros.nodes.conversions import duration_to_msg
from dream_vla_ros.nodes.planner.parameters import Mode
from dream_vla_ros.nodes.spinning_node import NotReadyError, SpinningNode

PLANNER_HINT = "planner node: 'ros2 run dream_vla_ros planner' or a launch file"
# A vision-language model takes seconds to answer on a processor.
_ANSWER_S = 60.0
_ACCEPT_S = 10.0
_CANCEL_S = 15.0
_POLL_S = 0.1
_STATE_S = 2.0
# A planner that is gone for longer than a discovery takes to notice will not answer any more.
_LOST_S = 15.0
_MODES = {
    None: ExecuteTask.Goal.MODE_DEFAULT,
    Mode.PLANNER: ExecuteTask.Goal.MODE_VLM_PLANNER,
    Mode.GROUNDER: ExecuteTask.Goal.MODE_VLM_GROUNDER,
}


class PlannerClient:
    """Talks to a planner node; has a node and a thread of its own. Use it as a context manager.

    :param namespace: Namespace of the robot's nodes.
    :param ros_args: ROS arguments for the client's node, for example remappings.
    """

    def __init__(self, *, namespace: str = "", ros_args: Sequence[str] = ()) -> None:
        self._spinning = SpinningNode(f"planner_client_{os.getpid()}", namespace=namespace, ros_args=ros_args)
        node = self._spinning.node
        self._questions = node.create_client(GroundPredicates, "ground_predicates")
        self._state = node.create_client(GetState, "planner/get_state")
        self._plan = ActionClient(node, PlanTask, "plan_task")
        self._execute = ActionClient(node, ExecuteTask, "execute_task")
        self._spinning.start()

    def __enter__(self) -> PlannerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the graph."""
        self._spinning.close()

    @property
    def state(self) -> str:
        """The planner's life cycle at the last look of :meth:`wait_until_ready`; empty before."""
        return self._seen_state

    _seen_state = ""

    def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until the planner takes goals.

        :raises NotReadyError: Saying what is missing and what to start.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            missing = self._missing()
            if not missing:
                return
            if time.monotonic() >= deadline:
                raise NotReadyError(missing)
            time.sleep(_POLL_S)

    def ask(
        self,
        questions: Sequence[str] = (),
        predicates: Sequence[str] = (),
        *,
        domain: str = "",
        timeout_s: float = 10.0,
    ) -> GroundPredicates.Response:
        """Ask about what the cameras see now.

        :param timeout_s: How long to wait for a planner.
        :raises NotReadyError: If there is none, or it does not answer.
        """
        self.wait_until_ready(timeout_s)
        request = GroundPredicates.Request(
            questions=list(questions), predicates=list(predicates), domain=domain
        )
        return self._spinning.call_service(self._questions, request, _ANSWER_S, owner=PLANNER_HINT)

    def plan(
        self,
        task: str = "",
        predicates: Sequence[str] = (),
        *,
        domain: str = "",
        mode: Mode | None = None,
        on_feedback: Callable[[Any], None] = lambda _: None,
        timeout_s: float = 10.0,
    ) -> PlanTask.Result:
        """Have a plan made.

        :param on_feedback: Called in the caller's thread with feedback messages.
        :raises NotReadyError: If there is no planner, or it goes away.
        """
        goal = PlanTask.Goal(task=task, goal_predicates=list(predicates), domain=domain, mode=_MODES[mode])
        return self._carry_out(self._plan, goal, on_feedback, timeout_s)

    def execute(
        self,
        task: str = "",
        predicates: Sequence[str] = (),
        *,
        domain: str = "",
        mode: Mode | None = None,
        max_steps: int = 0,
        instruction_time_limit_s: float = 0.0,
        on_feedback: Callable[[Any], None] = lambda _: None,
        timeout_s: float = 10.0,
    ) -> ExecuteTask.Result:
        """Have a task planned and carried out; an interruption (Ctrl-C) cancels it and waits for its end.

        :param on_feedback: Called in the caller's thread with feedback messages.
        :raises NotReadyError: If there is no planner, or it goes away.
        """
        goal = ExecuteTask.Goal(
            task=task,
            goal_predicates=list(predicates),
            domain=domain,
            mode=_MODES[mode],
            max_steps=max_steps,
            instruction_time_limit=duration_to_msg(instruction_time_limit_s),
        )
        return self._carry_out(self._execute, goal, on_feedback, timeout_s)

    def _missing(self) -> str:
        if not (self._execute.server_is_ready() and self._questions.service_is_ready()):
            return f"no planner serves '{self._questions.service_name}' ({PLANNER_HINT})"
        if not self._state.service_is_ready():
            return ""
        try:
            answer = self._spinning.call_service(
                self._state, GetState.Request(), _STATE_S, owner=PLANNER_HINT
            )
        except NotReadyError as error:
            self._seen_state = "busy"
            return str(error)
        self._seen_state = answer.current_state.label
        if self._seen_state == "active":
            return ""
        return f"the planner is {self._seen_state}, not active; see its log, or 'ros2 lifecycle set' its node"

    def _carry_out(
        self, client: ActionClient, goal: Any, on_feedback: Callable[[Any], None], timeout_s: float
    ) -> Any:
        self.wait_until_ready(timeout_s)
        news: list[Any] = []
        changed = threading.Event()

        def hear(message: Any) -> None:
            news.append(message.feedback)
            changed.set()

        future = self._spinning.call(lambda: client.send_goal_async(goal, feedback_callback=hear))
        future.add_done_callback(lambda _: changed.set())
        handle = self._await(future, changed, news, on_feedback, client, _ACCEPT_S)
        if not handle.accepted:
            raise NotReadyError("the planner rejected the goal; its log says why")
        result = self._spinning.call(handle.get_result_async)
        result.add_done_callback(lambda _: changed.set())
        try:
            return self._await(result, changed, news, on_feedback, client, math.inf).result
        except NotReadyError:
            raise
        except BaseException:
            self._spinning.call(handle.cancel_goal_async)
            self._await(result, changed, [], lambda _: None, client, _CANCEL_S)
            raise

    def _await(
        self,
        future: Any,
        changed: threading.Event,
        news: list[Any],
        on_feedback: Callable[[Any], None],
        client: ActionClient,
        timeout_s: float,
    ) -> Any:
        """Wait for a future, passing on news meanwhile."""
        deadline = time.monotonic() + timeout_s
        gone_since = math.inf
        while not future.done():
            changed.wait(_POLL_S)
            changed.clear()
            while news:
                on_feedback(news.pop(0))
            now = time.monotonic()
            gone_since = math.inf if client.server_is_ready() else min(gone_since, now)
            if now > deadline or now - gone_since > _LOST_S:
                raise NotReadyError(f"the planner does not answer any more ({PLANNER_HINT})")
        return future.result()
