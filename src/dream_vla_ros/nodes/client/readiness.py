"""Whether the policy's node would take a goal now, and what to start if not."""

from __future__ import annotations

from lifecycle_msgs.srv import GetState
from rclpy.action import ActionClient

from dream_vla_ros.nodes.spinning_node import NotReadyError, SpinningNode

POLICY_HINT = "policy node: 'ros2 run dream_vla_ros policy' or a launch file such as tabletop.launch.py"
CONTROLLER_HINT = "controller node: 'ros2 run dream_vla_ros controller' or a launch file"
_ANSWER_TIMEOUT_S = 2.0


class PolicyReadiness:
    """Look at the policy's action server and life cycle.

    :param spinning: The client's node.
    :param action: Its action client.
    :param action_name: Full name of the action.
    """

    def __init__(self, spinning: SpinningNode, action: ActionClient, action_name: str) -> None:
        self._spinning = spinning
        self._action = action
        self._action_name = action_name
        self.lifecycle_state = ""
        self._get_state = spinning.node.create_client(GetState, "policy/get_state")

    def missing(self, heard: bool) -> str:
        """Say what keeps the policy from taking a goal; empty when nothing does.

        :param heard: Whether its heartbeat came lately. A process that was killed stays in the graph for a
            while, so what it publishes is what counts.
        """
        self.lifecycle_state = self._look()
        if not (heard and self._action.server_is_ready()):
            return f"no action server '{self._action_name}' ({POLICY_HINT})"
        if self.lifecycle_state in ("", "active"):
            return ""
        return (
            f"the policy is {self.lifecycle_state}, not active; see its log, or 'ros2 lifecycle set' its node"
        )

    def _look(self) -> str:
        # Whoever serves the action need not be a lifecycle node, and one that loads a model answers late.
        if not self._get_state.service_is_ready():
            return ""
        try:
            answer = self._spinning.call_service(
                self._get_state, GetState.Request(), _ANSWER_TIMEOUT_S, owner=POLICY_HINT
            )
        except NotReadyError:
            return "busy"
        return answer.current_state.label
