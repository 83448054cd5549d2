"""Parameters of the planner node."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dream_vla_ros.parameters import param


class Answers(str, Enum):
    """Who answers questions and writes plans."""

    DREAM_VL = "dream_vl"
    ORACLE = "oracle"
    """The simulation's own state; for trying everything else."""


class Mode(str, Enum):
    """How a task is planned where its goal does not say."""

    PLANNER = "planner"
    """The model writes the plans."""
    GROUNDER = "grounder"
    """The model says what holds, a classical planner plans."""


@dataclass(frozen=True)
class PlannerParameters:
    """How tasks are planned and carried out; changes take effect with the next goal unless read-only."""

    autostart: bool = param(True, "Whether the node configures and activates itself when it starts.")
    answers: Answers = param(
        Answers.DREAM_VL,
        "Who answers and plans: a checkpoint (dream_vl), or the simulation's own state (oracle).",
    )
    cameras: tuple[str, ...] = param(
        (), "Names of the cameras the model is shown, in its order; empty shows all of them."
    )
    domain: str = param(
        "tabletop", "Planning domain where a request names none: a name or a YAML file.", read_only=False
    )
    domain_folders: tuple[str, ...] = param((), "Folders of your own domains, searched before the package's.")
    mode: Mode = param(Mode.GROUNDER, "How a task is planned whose goal does not say.", read_only=False)
    max_steps: int = param(
        20, "Most actions to try for a task that names no number.", minimum=1, maximum=1000, read_only=False
    )
    max_faults: int = param(
        3,
        "Actions in a row that the policy could not carry out before a task is given up.",
        minimum=1,
        maximum=100,
        read_only=False,
    )
    looks: int = param(
        2, "How often the scene is looked at for what is not clear.", minimum=1, maximum=20, read_only=False
    )
    yes_from: float = param(
        0.6, "Probability of yes from which an answer is yes.", minimum=0.0, maximum=1.0, read_only=False
    )
    no_up_to: float = param(
        0.4, "Probability of yes up to which an answer is no.", minimum=0.0, maximum=1.0, read_only=False
    )
    instruction_time_limit: float = param(
        30.0,
        "Time limit of an instruction where a task names none [s].",
        minimum=0.1,
        maximum=86400.0,
        read_only=False,
    )
    success_questions: bool = param(
        False,
        "Give the policy the question whether an action's first effect holds, to end the action by.",
        read_only=False,
    )
    policy_patience: float = param(
        10.0,
        "How long to wait for a policy that takes goals [s].",
        minimum=0.1,
        maximum=3600.0,
        read_only=False,
    )
