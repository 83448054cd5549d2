"""The policy node: camera images and a language goal in, action chunks of a Dream-VLA checkpoint out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dream_vla_ros.nodes.parameters import declare
from dream_vla_ros.nodes.policy.base import PolicyNodeBase
from dream_vla_ros.nodes.policy.inputs import CameraObserver
from dream_vla_ros.nodes.policy.main import run_policy_node
from dream_vla_ros.nodes.resources import is_untrained
from dream_vla_ros.nodes.state_source import StateSource
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.policy import Policy, warm_up_observation
from dream_vla_ros.policy.settings import ModelSettings


class PolicyNode(PolicyNodeBase):
    """Carries out language instructions with a Dream-VLA checkpoint."""

    def __init__(self) -> None:
        super().__init__([(ModelSettings, "")])

    def load_policy(self) -> Policy[Observation]:
        """Read the checkpoint that the parameters name now.

        :raises PolicyError: Naming the file or parameter at fault.
        """
        # Takes seconds to import, in which the node is already there and tells its state.
        from dream_vla_ros.policy.dream_vla import DreamVLAPolicy

        settings = declare(self, ModelSettings)
        self.get_logger().info(f"loading '{settings.checkpoint}' ({settings.objective.value})")
        policy = DreamVLAPolicy.load(settings, self.embodiment)
        if is_untrained(Path(settings.checkpoint).expanduser()):
            self.get_logger().warning(f"'{settings.checkpoint}' holds random weights: no task will succeed")
        return policy

    def warm_up_observation(self) -> Any:
        """Return black images and an arm at its base."""
        return warm_up_observation(self.embodiment)

    def make_observer(self, states: StateSource, on_input: Callable[[], None]) -> CameraObserver:
        """Subscribe to the cameras."""
        return CameraObserver(self, self.embodiment, states, on_input, self.consumption)


def main(args: Sequence[str] | None = None) -> int:
    """Run the policy node until SIGINT or SIGTERM.

    :returns: Exit code: 0 when told to end, 2 for wrong parameters.
    """
    return run_policy_node(PolicyNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
