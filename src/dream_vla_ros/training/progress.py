"""A progress bar for a training, on a terminal and in a log."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

_LOG_PERIOD_S = 10.0
_BAR = 20
_CLEAR_TO_END = "\x1b[K"
_SHOWN = ("loss", "action_loss", "word_loss", "scene_loss", "place_error_m", "samples_per_s")


class TrainingProgress:
    """Shows steps, the time left and the newest numbers.

    :param name: Of the stage.
    :param steps: How many there will be.
    :param stream: Where to; in place on a terminal, a line every few seconds elsewhere.
    """

    def __init__(self, name: str, steps: int, stream: TextIO | None = None) -> None:
        self._name, self._steps = name, steps
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._shown_s = -_LOG_PERIOD_S
        self._began: tuple[int, float] | None = None

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Show a step."""
        now_s = time.monotonic()
        if self._began is None:
            self._began = (step, now_s)
        last = step >= self._steps
        if not (self._terminal or last or now_s - self._shown_s >= _LOG_PERIOD_S):
            return
        self._shown_s = now_s
        numbers = ", ".join(f"{key} {values[key]:.4g}" for key in _SHOWN if key in values)
        text = f"{step}/{self._steps}{self._left(step, now_s)}: {numbers}"
        if self._terminal:
            filled = _BAR * step // self._steps
            line = f"{self._name} [{'#' * filled}{'.' * (_BAR - filled)}] {text}"
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{line[:width]}{_CLEAR_TO_END}" + ("\n" if last else ""))
        else:
            self._stream.write(f"{self._name} {text}\n")
        self._stream.flush()

    def _left(self, step: int, now_s: float) -> str:
        assert self._began is not None
        done, taken_s = step - self._began[0], now_s - self._began[1]
        if done < 1 or step >= self._steps:
            return ""
        minutes, seconds = divmod(round(taken_s / done * (self._steps - step)), 60)
        return f", {minutes}:{seconds:02d} left"
