"""A progress bar for a training, on a terminal and in a log."""

from __future__ import annotations

import sys
import time

_LOG_PERIOD_S = 10.0
_SHOWN = ("loss", "action_loss", "word_loss", "scene_loss", "place_error_m", "samples_per_s")


class TrainingProgress:
    """Shows steps, the time left and the newest numbers.

    :param name: Of the stage.
    :param steps: How many there will be.
    """

    def __init__(self, name: str, steps: int) -> None:
        from tqdm import tqdm

        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=steps, desc=name, unit="step", disable=not terminal)
        self._name, self._steps = name, steps
        self._terminal = terminal
        self._logged_s = -_LOG_PERIOD_S

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Show a step."""
        numbers = {key: f"{values[key]:.4g}" for key in _SHOWN if key in values}
        if self._terminal:
            self._bar.set_postfix(numbers, refresh=False)
            self._bar.update(step - self._bar.n)
        elif step == self._steps or time.monotonic() - self._logged_s >= _LOG_PERIOD_S:
            self._logged_s = time.monotonic()
            told = ", ".join(f"{key} {value}" for key, value in numbers.items())
            print(f"{self._name} {step}/{self._steps}: {told}", flush=True)
        if step == self._steps:
            self._bar.close()
