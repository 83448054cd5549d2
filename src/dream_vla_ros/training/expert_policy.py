"""The scripted expert as a policy: what planner and controller reach when the policy makes no mistakes."""

from __future__ import annotations

from dream_vla_ros.policy.actions import Motion
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.policy import PolicyError, PolicyResult
from dream_vla_ros.sim.expert import PERIOD_S, plan
from dream_vla_ros.sim.simulation import TabletopSim
from dream_vla_ros.sim.state import TableState
from dream_vla_ros.sim.tasks import UnknownInstructionError, task_from_instruction


class ExpertPolicy:
    """Does what the words say, by what is true of a simulated table.

    :param sim: The table.
    :param chunk_size: Actions of a chunk.
    """

    name, objective = "expert", "scripted"
    notes = ("the expert reads the simulation's own state and looks at no image",)

    def __init__(self, sim: TabletopSim, chunk_size: int = 8) -> None:
        self._sim = sim
        self._chunk_size = chunk_size
        self._start: TableState | None = None

    def infer(self, observation: Observation) -> PolicyResult:
        """Plan the next motion.

        :raises PolicyError: If the words are no task of the tabletop.
        """
        try:
            goal = task_from_instruction(observation.instruction).goal
        except UnknownInstructionError as error:
            raise PolicyError(str(error)) from error
        now = self._sim.state()
        if self._start is None:
            self._start = now
        chunk = plan(goal, self._start, now, self._chunk_size)
        return PolicyResult(Motion(chunk.translation, chunk.rotation, chunk.gripper), PERIOD_S)

    def reset(self) -> None:
        """Begin a new goal: pushes count from where things are now."""
        self._start = None

    def close(self) -> None:
        """Do nothing: it holds nothing."""
