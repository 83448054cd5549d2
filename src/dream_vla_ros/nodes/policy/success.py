"""Asks the planner whether a goal has been reached."""

from __future__ import annotations

import math
import time
from typing import Any

from rclpy.client import Client
from rclpy.task import Future

from dream_vla_msgs.msg import GroundingAnswer
from dream_vla_msgs.srv import GroundPredicates
from dream_vla_ros.nodes.conversions import time_from_msg
from dream_vla_ros.nodes.outcome import Outcome
from dream_vla_ros.nodes.policy.goal import GoalRun

# An answer takes a vision-language model some seconds; after this the question was lost.
_ANSWER_TIMEOUT_S = 30.0


class SuccessQuestion:
    """The success question of one goal; called from the executor only.

    :param client: Client of the planner's ``ground_predicates``.
    :param run: The goal; it must have a question.
    :param period_s: Time between two askings.
    :param count: Yes in a row that end the goal.
    """

    def __init__(self, client: Client, run: GoalRun, period_s: float, count: int) -> None:
        self._client = client
        self._run = run
        self._period_s = period_s
        self._count = count
        self._yes = 0
        self._asked_s = -math.inf
        self._pending: Future | None = None

    def tick(self) -> None:
        """Ask if it is time to."""
        now = time.monotonic()
        if self._pending is not None:
            if now - self._asked_s < _ANSWER_TIMEOUT_S:
                return
            self.close()
            self._yes = 0
        # Before the first chunk the goal cannot have been reached by it.
        due = self._run.chunks > 0 and now - self._asked_s >= self._period_s
        if not due or not self._client.service_is_ready():
            return
        self._asked_s = now
        request = GroundPredicates.Request(questions=[self._run.request.success_question])
        self._pending = self._client.call_async(request)
        self._pending.add_done_callback(self._on_answer)

    def close(self) -> None:
        """Wait for no answer any more."""
        if self._pending is not None:
            self._client.remove_pending_request(self._pending)
            self._pending = None

    def _on_answer(self, future: Future) -> None:
        if future is not self._pending:
            return
        self._pending = None
        response: Any = future.result()
        answered = response is not None and response.success and len(response.answers) > 0
        answer = response.answers[0] if answered else None
        # An answer about an image from before the goal says nothing about what the goal did.
        if answer is None or time_from_msg(answer.image_stamp) < self._run.request.accepted_ros_ns:
            self._yes = 0
            return
        self._run.success_probability = float(answer.probability)
        self._yes = self._yes + 1 if answer.answer == GroundingAnswer.YES else 0
        if self._yes >= self._count:
            question = self._run.request.success_question
            self._run.end(Outcome.SUCCEEDED, f"'{question}' was answered yes {self._yes} times in a row")
