"""The five ways in which actions are trained, and so predicted."""

from __future__ import annotations

from enum import Enum

from .errors import ModelInputError


class Objective(str, Enum):
    """How actions were trained, and so how they are predicted."""

    FLOW_MATCHING = "flow_matching"
    L1_REGRESSION = "l1_regression"
    DIFFUSION = "diffusion"
    DISCRETE = "discrete"
    DISCRETE_DIFFUSION = "discrete_diffusion"

    @classmethod
    def named(cls, value: Objective | str) -> Objective:
        """Return the objective of that name.

        :raises ModelInputError: listing the names there are.
        """
        try:
            return cls(value)
        except ValueError:
            names = ", ".join(objective.value for objective in cls)
            raise ModelInputError(f"objective must be one of {names}, not {value!r}") from None

    @property
    def continuous(self) -> bool:
        """Whether an action head reads the hidden states, rather than tokens being predicted."""
        return self not in (Objective.DISCRETE, Objective.DISCRETE_DIFFUSION)

    @property
    def denoises(self) -> bool:
        """Whether noisy actions and a time go in."""
        return self in (Objective.FLOW_MATCHING, Objective.DIFFUSION)

    @property
    def default_steps(self) -> int:
        """Forward passes per prediction when none are asked for."""
        return {"flow_matching": 4, "diffusion": 50, "discrete_diffusion": 4}.get(self.value, 1)
