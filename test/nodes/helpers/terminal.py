"""A program in a terminal of its own, as a person at the keyboard has it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import threading
from collections.abc import Sequence


class Terminal:
    """Runs a command whose standard input and output are a terminal.

    :param command: Program and arguments.
    :param environment: All of its variables.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self._shown = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """What was shown so far."""
        return self._shown.decode("utf-8", errors="replace")

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def close(self) -> None:
        """End the program and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join()
        os.close(self._master)

    def _read(self) -> None:
        while self.process.poll() is None or select.select([self._master], [], [], 0)[0]:
            if not select.select([self._master], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._master, 4096)
            except OSError:
                return
            if not data:
                return
            self._shown += data
