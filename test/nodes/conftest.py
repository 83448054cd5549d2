"""Fixtures for tests that run ROS graphs over real DDS, each in a domain of its own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Helpers are imported by name (from ros_graph import Recorder); tests themselves are not importable.
sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from ros_graph import Graph

# Tests interrupt themselves and the processes they start; a suite that a script runs in the background would
# have them all deaf to it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Domains up to 101 keep their DDS ports clear of the ephemeral port range on Linux; 0 is left to
# the user's own graph.
_DOMAINS = range(1, 102)


@pytest.fixture(scope="session")
def domain_id() -> Iterator[int]:
    """Reserve a ROS domain id that no other test process on this machine holds."""
    folder = Path(tempfile.gettempdir()) / "dream_vla_test_domains"
    folder.mkdir(exist_ok=True)
    start = uuid.uuid4().int % len(_DOMAINS)
    for offset in range(len(_DOMAINS)):
        domain = _DOMAINS[(start + offset) % len(_DOMAINS)]
        lock = open(folder / str(domain), "w")  # noqa: SIM115 - held open for as long as the domain is ours
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        previous = os.environ.get("ROS_DOMAIN_ID")
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        try:
            yield domain
        finally:
            if previous is None:
                os.environ.pop("ROS_DOMAIN_ID", None)
            else:
                os.environ["ROS_DOMAIN_ID"] = previous
            lock.close()
        return
    pytest.fail("every ROS domain from 1 to 101 is held by another test process")


@pytest.fixture
def start_instruction_server(domain_id: int) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start processes that serve ExecuteInstruction; each is ready when the call returns."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("instruction_server.py")
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def instruction_server(
    start_instruction_server: Callable[..., subprocess.Popen[str]],
) -> subprocess.Popen[str]:
    """Return a process that serves ExecuteInstruction."""
    return start_instruction_server()


@pytest.fixture
def graph(domain_id: int, tmp_path: Path) -> Iterator[Graph]:
    """Give one test a graph of its own; every process it started is ended afterwards."""
    made = Graph(domain_id, tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def module_graph(domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """Give all tests of a module one graph, for processes that are slow to start."""
    made = Graph(domain_id, tmp_path_factory.mktemp("graph"))
    try:
        yield made
    finally:
        made.close()
