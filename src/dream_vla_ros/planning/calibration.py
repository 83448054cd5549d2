"""Probabilities of yes that mean what they say: a temperature fitted on held-out answers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, logit

from .errors import PlanningError

FILE_NAME = "grounding_calibration.json"
"""Where a checkpoint folder keeps its calibration."""

# Temperatures outside of this turn every answer into a coin flip or a certainty.
_MIN_TEMPERATURE = 0.05
_MAX_TEMPERATURE = 50.0
# A network's probability of exactly 0 or 1 is rounding, not knowledge.
_SMALLEST_PROBABILITY = 1e-7
_DEFAULT_BINS = 15


class CalibrationError(PlanningError):
    """A calibration that is missing numbers or cannot be fitted; the message says which or why."""


@dataclass(frozen=True)
class Calibration:
    """How to turn a network's probability of yes into one that can be relied on.

    :param temperature: The log-odds are divided by it; above 1 makes answers less sure.
    :param error_before: Expected calibration error as the network gave the answers.
    :param error_after: The same with the temperature.
    :param answers: How many answers the errors are of: those it was fitted on, or, from :func:`fit_held_out`,
        others.
    """

    temperature: float
    error_before: float
    error_after: float
    answers: int

    def __post_init__(self) -> None:
        if not _MIN_TEMPERATURE <= self.temperature <= _MAX_TEMPERATURE:
            raise CalibrationError(
                f"temperature is {self.temperature}, not {_MIN_TEMPERATURE} to {_MAX_TEMPERATURE}"
            )

    def apply(self, probability: float) -> float:
        """Calibrate one probability of yes, 0 to 1."""
        return float(expit(_log_odds(probability) / self.temperature))

    def save(self, folder: str | Path) -> None:
        """Write it into a checkpoint folder."""
        text = json.dumps(asdict(self), indent=2)
        (Path(folder) / FILE_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Calibration | None:
        """Read it from a checkpoint folder.

        :returns: None if the folder has none, so that answers are uncalibrated.
        :raises CalibrationError: If the file is there but cannot be used.
        """
        path = Path(folder) / FILE_NAME
        if not path.exists():
            return None
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                float(data["temperature"]),
                float(data["error_before"]),
                float(data["error_after"]),
                int(data["answers"]),
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CalibrationError(f"{path} is no calibration: {error!r}") from error


def fit_temperature(probabilities: ArrayLike, truths: ArrayLike) -> Calibration:
    """Fit a temperature by maximum likelihood.

    :param probabilities: (answers,) probabilities of yes, as the network gave them.
    :param truths: (answers,) whether yes was right.
    :raises CalibrationError: If shapes or values do not fit, or all answers should have been the same.
    """
    given, right = _checked(probabilities, truths)
    if right.all() or not right.any():
        raise CalibrationError(
            "calibration needs questions whose right answer is yes and ones where it is no"
        )
    log_odds = _log_odds(given)
    signs = np.where(right, 1.0, -1.0)

    def loss(log_temperature: float) -> float:
        return -float(np.mean(log_expit(signs * log_odds / math.exp(log_temperature))))

    bounds = (math.log(_MIN_TEMPERATURE), math.log(_MAX_TEMPERATURE))
    temperature = math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded").x))
    return Calibration(
        temperature,
        expected_calibration_error(given, right),
        expected_calibration_error(expit(log_odds / temperature), right),
        len(given),
    )


def fit_held_out(
    probabilities: ArrayLike, truths: ArrayLike, scenes: ArrayLike, *, seed: int = 0
) -> Calibration:
    """Fit a temperature on half of the scenes, and measure what it is worth on the other half.

    :param probabilities: (answers,) probabilities of yes, as the network gave them.
    :param truths: (answers,) whether yes was right.
    :param scenes: (answers,) which scene each is about: answers about one scene are no test of each other.
    :param seed: Of the split.
    :returns: With the errors of the half it was not fitted on.
    :raises CalibrationError: If shapes or values do not fit, or there are too few scenes or answers.
    """
    given, right = _checked(probabilities, truths)
    which = np.asarray(scenes)
    if which.shape != given.shape:
        raise CalibrationError(f"scenes {which.shape} and probabilities {given.shape} must be two equal rows")
    known = np.unique(which)
    if len(known) < 2:
        raise CalibrationError("calibration needs two scenes or more: one half to fit on, one to test on")
    fitted = np.random.default_rng(seed).permutation(known)[: len(known) // 2]
    inside = np.isin(which, fitted)
    temperature = fit_temperature(given[inside], right[inside]).temperature
    tested, truth = given[~inside], right[~inside]
    return Calibration(
        temperature,
        expected_calibration_error(tested, truth),
        expected_calibration_error(expit(_log_odds(tested) / temperature), truth),
        len(tested),
    )


def expected_calibration_error(
    probabilities: ArrayLike, truths: ArrayLike, bins: int = _DEFAULT_BINS
) -> float:
    """Return how far off the probabilities of yes are on average.

    Answers are sorted into bins of equal width by their probability of yes; each bin counts with the distance
    between the mean probability and the share of answers where yes was right, weighted by its answers.

    :raises CalibrationError: If shapes or values do not fit.
    """
    given, right = _checked(probabilities, truths)
    index = np.minimum((given * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    gap = np.abs(np.bincount(index, given, bins) - np.bincount(index, right, bins))
    return float(gap.sum() / count.sum())


def accuracy(probabilities: ArrayLike, truths: ArrayLike) -> float:
    """Return the share of answers that are right, yes above one half."""
    given, right = _checked(probabilities, truths)
    return float(np.mean((given > 0.5) == right))


def _checked(probabilities: ArrayLike, truths: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    given = np.asarray(probabilities, float)
    right = np.asarray(truths).astype(bool)
    if given.ndim != 1 or given.shape != right.shape or len(given) == 0:
        raise CalibrationError(f"probabilities {given.shape} and truths {right.shape} must be two equal rows")
    if not np.all((given >= 0.0) & (given <= 1.0)):
        raise CalibrationError("probabilities must lie between 0 and 1")
    return given, right


def _log_odds(probability: float | NDArray[np.float64] | Sequence[float]) -> NDArray[np.float64]:
    return logit(np.clip(probability, _SMALLEST_PROBABILITY, 1.0 - _SMALLEST_PROBABILITY))
