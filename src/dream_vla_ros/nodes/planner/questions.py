"""The service that answers questions about the scene."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from dream_vla_msgs.srv import GroundPredicates
from dream_vla_ros.nodes.planner.messages import answer_to_msg
from dream_vla_ros.planning.errors import PlanningError
from dream_vla_ros.planning.outcomes import Answer
from dream_vla_ros.policy.frames import MissingInputError

SERVICE = "ground_predicates"

Answering = Callable[[Sequence[str], Sequence[str], str], list[Answer]]
"""Questions, predicates and domain to answers."""


class QuestionService:
    """Serves ``ground_predicates``; each request is answered in a thread of its own.

    :param answering: Returns who answers now; None while the node is not active.
    """

    def __init__(self, node: Node, answering: Callable[[], Answering | None]) -> None:
        self._node = node
        self._answering = answering
        node.create_service(
            GroundPredicates, SERVICE, self._on_request, callback_group=ReentrantCallbackGroup()
        )

    async def _on_request(
        self, request: GroundPredicates.Request, response: GroundPredicates.Response
    ) -> GroundPredicates.Response:
        done = Future(executor=self._node.executor)

        def answer() -> None:
            try:
                self._answer(request, response)
            finally:
                done.set_result(None)
                if self._node.executor is not None:
                    self._node.executor.wake()

        threading.Thread(target=answer, name="answer", daemon=True).start()
        await done
        return response

    def _answer(self, request: GroundPredicates.Request, response: GroundPredicates.Response) -> None:
        response.success = False
        answering = self._answering()
        if answering is None:
            response.message = "the planner node is not active; activate it first"
            return
        try:
            answers = answering(list(request.questions), list(request.predicates), request.domain)
        except (PlanningError, MissingInputError) as error:
            response.message = str(error)
        except Exception as error:
            self._node.get_logger().error(f"a question failed:\n{traceback.format_exc()}")
            response.message = f"the planner failed, its log says more: {type(error).__name__}: {error}"
        else:
            response.answers = [answer_to_msg(answer) for answer in answers]
            response.success = True
