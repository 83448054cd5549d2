"""The demo's nodes as processes of their own, which end with it whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_PR_SET_PDEATHSIG = 1
# A node that is asked to end has this long for each of SIGINT and SIGTERM before it is killed.
_PATIENCE_S = 4.0
_LOG_LINES_SHOWN = 12
# DDS-RTPS well-known ports: a participant listens on 7400 + 250 * domain + 10 (+ 2 for each further one).
_FIRST_PORT, _PORTS_PER_DOMAIN, _UNICAST_OFFSET = 7400, 250, 10
# Domains up to 101 keep clear of Linux's ephemeral ports; 0 is everyone's default.
_DOMAINS = range(1, 102)


class ProcessDiedError(RuntimeError):
    """A node ended although nobody asked it to; the message has the end of its log."""


@dataclass
class _Member:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class ProcessGroup:
    """Start Python modules as processes and end them all; use it as a context manager.

    :param logs: Folder for one log file each.
    :param domain_id: ROS domain they live in.
    """

    def __init__(self, logs: Path, domain_id: int) -> None:
        self._logs = logs
        self._logs.mkdir(parents=True, exist_ok=True)
        self._environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONUNBUFFERED": "1"}
        self._members: list[_Member] = []

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str, module: str, arguments: Sequence[str] = ()) -> None:
        """Start a module.

        :param name: Name of its log.
        :param module: As after ``python -m``.
        """
        log = self._logs / f"{name}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # Its own group: Ctrl-C reaches the demo, which then ends the nodes in order.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self._members.append(_Member(name, process, log))

    def check(self) -> None:
        """Make sure that all are running.

        :raises ProcessDiedError: If one ended.
        """
        for member in self._members:
            code = member.process.poll()
            if code is not None:
                raise ProcessDiedError(
                    f"the {member.name} process ended with status {code}; the end of {member.log}:\n"
                    + tail(member.log)
                )

    def last_words(self) -> str:
        """Return the end of the log of the process started last."""
        return tail(self._members[-1].log)

    def stop(self) -> None:
        """End all of them and wait until they are gone; a further Ctrl-C does not disturb that."""
        members, self._members = self._members[::-1], []
        with _no_interruptions():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                for member in members:
                    _signal_group(member.process, number)
                deadline = time.monotonic() + _PATIENCE_S
                while time.monotonic() < deadline and any(m.process.poll() is None for m in members):
                    time.sleep(0.02)
                if all(member.process.poll() is not None for member in members):
                    break
            for member in members:
                # What a node may have started itself.
                _signal_group(member.process, signal.SIGKILL)
                member.process.wait()


def tail(log: Path, lines: int = _LOG_LINES_SHOWN) -> str:
    """Return the end of a log, indented.

    :param lines: Most lines.
    """
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    shown = text.rstrip().splitlines()[-lines:]
    return "\n".join(f"  | {line}" for line in shown) if shown else "  | (nothing was logged)"


def choose_domain() -> int:
    """Return the ROS domain of the environment, or else one that nobody on this machine uses."""
    if os.environ.get("ROS_DOMAIN_ID", ""):
        return int(os.environ["ROS_DOMAIN_ID"])
    start = os.getpid() % len(_DOMAINS)
    for offset in range(len(_DOMAINS)):
        domain = _DOMAINS[(start + offset) % len(_DOMAINS)]
        if _is_free(domain):
            return domain
    return _DOMAINS[start]


def _is_free(domain: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("0.0.0.0", _FIRST_PORT + _PORTS_PER_DOMAIN * domain + _UNICAST_OFFSET))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _no_interruptions() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _die_with_parent() -> None:
    # The kernel ends the node should the demo be killed without a chance to clean up.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
