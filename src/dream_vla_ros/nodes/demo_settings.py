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
class SessionSettings:
    """What is done with the graph.

    :param tasks: Goals in words, one after another.
    :param time_limit_s: Longest time for each.
    :param seed: Of the scenes and of the policy's sampling.
    :param image_size: Side of the camera images [pixels].
    :param device: Torch device of the policy.
    :param out: Folder for logs and what is kept meanwhile.
    """

    tasks: tuple[str, ...]
    time_limit_s: float
    seed: int
    image_size: int
    device: str
    out: Path
