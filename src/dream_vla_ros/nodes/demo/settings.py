"""What the demo is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Actor:
    """Who acts.

    :param module: Module of the node in the policy's place.
    :param name: For tables and the video.
    :param objective: Of the checkpoint, or ``scripted``.
    :param checkpoint: None for the scripted expert.
    :param untrained: Whether its weights are random.
    """

    module: str
    name: str
    objective: str
    checkpoint: Path | None = None
    untrained: bool = False

    @property
    def expert(self) -> bool:
        """Whether it is the scripted expert."""
        return self.checkpoint is None


@dataclass(frozen=True)
class PlanSettings:
    """How tasks of several steps are planned.

    :param mode: ``planner`` or ``grounder``.
    :param checkpoint: Who answers and plans; None is the simulation's own state.
    """

    mode: str
    checkpoint: Path | None = None

    @property
    def who(self) -> str:
        """Who answers and plans, as a person reads it."""
        return "the oracle (simulator truth)" if self.checkpoint is None else self.checkpoint.name


@dataclass(frozen=True)
class SessionSettings:
    """What is done with the graph.

    :param tasks: Goals in words, one after another.
    :param time_limit_s: Longest time for each.
    :param seed: Of the scenes and of the policy's sampling.
    :param image_size: Side of the camera images [pixels].
    :param device: Torch device of the policy.
    :param out: Folder for logs and what is kept meanwhile.
    :param plan: The tasks have several steps and go through the planner; None sends each to the policy.
    """

    tasks: tuple[str, ...]
    time_limit_s: float
    seed: int
    image_size: int
    device: str
    out: Path
    plan: PlanSettings | None = None
