"""A line of a terminal that is written over again and again."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

# Without a terminal each change is a line of its own in some log, so fewer of them.
_LOG_PERIOD_S = 5.0
_CLEAR_TO_END = "\x1b[K"


class ProgressLine:
    """Show news in place on a terminal, and every few seconds elsewhere.

    :param stream: Where to write.
    :param enabled: False writes nothing.
    """

    def __init__(self, stream: TextIO, *, enabled: bool = True) -> None:
        self._stream = stream
        self._enabled = enabled
        self._terminal = stream.isatty()
        self._open = False
        self._head = ""
        self._shown_at = -_LOG_PERIOD_S

    def show(self, text: str) -> None:
        """Show a line in place of the last one.

        Elsewhere than on a terminal it is written when its first word changes, or some time has passed.
        """
        if not self._enabled:
            return
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{text[:width]}{_CLEAR_TO_END}")
            self._open = True
        else:
            head, now = text.partition(" ")[0], time.monotonic()
            if head == self._head and now - self._shown_at < _LOG_PERIOD_S:
                return
            self._head, self._shown_at = head, now
            self._stream.write(text + "\n")
        self._stream.flush()

    def end(self, text: str = "") -> None:
        """Leave the line standing, or put a last text in its place, and go on below it."""
        if text:
            self._head = ""
            self._shown_at = -_LOG_PERIOD_S
            self.show(text)
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False
