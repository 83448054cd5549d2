"""A ROS graph for one test: nodes as separate processes, and a node of the test's own to talk to them.

Everything waits on a condition with a deadline; when a deadline passes, the logs of the processes are in the
failure. Each graph has a namespace of its own, so one test's late messages never reach the next.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

Message = TypeVar("Message")
Value = TypeVar("Value")

RELIABLE = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=200, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=200, reliability=ReliabilityPolicy.BEST_EFFORT
)
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# Long enough for a process to start and be discovered on a loaded two-core machine; nothing waits this long
# when all is well.
TIMEOUT_S = 20.0
# A process told to end while it still imports torch hears of it only afterwards.
EXIT_S = 60.0
_POLL_S = 0.005
_LOG_TAIL_LINES = 40


def wait_until(predicate: Callable[[], Value], timeout_s: float = TIMEOUT_S, what: str = "") -> Value:
    """Return the predicate's first true value; fail when the deadline passes."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or predicate}")
        time.sleep(_POLL_S)


class Process:
    """A node running in a process of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.command = list(command)
        self._log = log
        with open(log, "wb") as file:
            self._process = subprocess.Popen(
                self.command, env=dict(environment), stdout=file, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def log(self) -> str:
        """Return what the process wrote to stdout and stderr so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ends_within(self, timeout_s: float) -> bool:
        """Wait for the process to end by itself; say whether it did."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait(self, timeout_s: float = EXIT_S) -> int:
        """Wait for the process to end by itself and return its exit code."""
        assert self.ends_within(timeout_s), f"still running after {timeout_s} s:\n{self.describe()}"
        return self._process.returncode

    def stop(self, how: signal.Signals = signal.SIGINT, timeout_s: float = EXIT_S) -> int:
        """Send a signal, wait for the end and return the exit code."""
        if self.running:
            self._process.send_signal(how)
        return self.wait(timeout_s)

    def signal(self, how: signal.Signals) -> None:
        self._process.send_signal(how)

    def describe(self) -> str:
        """Return command, state and the end of the log, for a failure message."""
        tail = "\n".join(self.log().splitlines()[-_LOG_TAIL_LINES:])
        state = "running" if self.running else f"ended with {self.exit_code}"
        return f"--- {' '.join(self.command)}\n--- {state}\n{tail}"


class Recorder(Generic[Message]):
    """Every message of one topic since the recorder was made, with its time of arrival."""

    def __init__(self, graph: Graph, kind: type[Message], topic: str, qos: QoSProfile) -> None:
        self._graph = graph
        self._lock = threading.Lock()
        self._entries: list[tuple[float, Message]] = []
        self.topic = topic
        self.subscription = graph.node.create_subscription(kind, topic, self._on_message, qos)

    def _on_message(self, msg: Message) -> None:
        with self._lock:
            self._entries.append((time.monotonic(), msg))

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    @property
    def messages(self) -> list[Message]:
        with self._lock:
            return [msg for _, msg in self._entries]

    @property
    def entries(self) -> list[tuple[float, Message]]:
        """Pairs of arrival (``time.monotonic()``) and message."""
        with self._lock:
            return list(self._entries)

    @property
    def last(self) -> Message | None:
        with self._lock:
            return self._entries[-1][1] if self._entries else None

    def wait(
        self,
        predicate: Callable[[Message], bool] = lambda _: True,
        timeout_s: float = TIMEOUT_S,
        *,
        start: int | None = None,
        what: str = "",
    ) -> Message:
        """Return the first message that fulfils the predicate.

        :param start: Index of the first message to look at; by default only messages still to come.
        """
        index = len(self) if start is None else start

        def look() -> list[Message]:
            nonlocal index
            new = self.messages[index:]
            index += len(new)
            return [msg for msg in new if predicate(msg)]

        return self._graph.wait(look, timeout_s, what or f"message on {self.topic}")[0]


class Graph:
    """Processes and the test's own node, in one domain and one namespace.

    :param domain: ROS domain id.
    :param folder: Where logs are written.
    """

    def __init__(self, domain: int, folder: Path | None = None) -> None:
        self.domain = domain
        self.namespace = f"/test_{uuid.uuid4().hex[:8]}"
        self._folder = folder or Path(tempfile.mkdtemp(prefix="ros_graph_"))
        self.processes: list[Process] = []
        self.context = Context()
        rclpy.init(args=[], context=self.context, domain_id=domain)
        self.node = Node("test", namespace=self.namespace, context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="test graph", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def now_ns(self) -> int:
        """Return the ROS time of the test's node."""
        return self.node.get_clock().now().nanoseconds

    def start(
        self,
        module: str,
        *arguments: str,
        parameter_files: Sequence[str | Path] = (),
        parameters: Mapping[str, Any] | None = None,
        remappings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start ``python -m module`` as a node in this graph's domain and namespace.

        :param parameters: Names to values, as YAML writes them (``repr`` of numbers, strings, lists, bools).
        """
        ros = ["--ros-args", "-r", f"__ns:={self.namespace}"]
        for path in parameter_files:
            ros += ["--params-file", str(path)]
        for name, value in (parameters or {}).items():
            ros += ["-p", f"{name}:={_yaml(value)}"]
        for source, target in (remappings or {}).items():
            ros += ["-r", f"{source}:={target}"]
        command = [sys.executable, "-m", module, *arguments, *ros]
        variables = {**os.environ, "ROS_DOMAIN_ID": str(self.domain), "PYTHONUNBUFFERED": "1"}
        variables.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        variables.update(environment or {})
        log = self._folder / f"{len(self.processes)}_{module.rpartition('.')[2]}.log"
        process = Process(command, variables, log)
        self.processes.append(process)
        return process

    def record(self, kind: type[Message], topic: str, qos: QoSProfile = RELIABLE) -> Recorder[Message]:
        """Record a topic from now on."""
        return Recorder(self, kind, topic, qos)

    def publisher(self, kind: type, topic: str, qos: QoSProfile = RELIABLE) -> Any:
        """Make a publisher of the test's node."""
        return self.node.create_publisher(kind, topic, qos)

    def wait_matched(self, *publishers: Any, count: int = 1, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until each publisher has at least ``count`` subscriptions."""
        for publisher in publishers:
            self.wait(
                lambda p=publisher: p.get_subscription_count() >= count,
                timeout_s,
                f"{count} subscription(s) of {publisher.topic_name}",
            )

    def wait(self, predicate: Callable[[], Value], timeout_s: float = TIMEOUT_S, what: str = "") -> Value:
        """As :func:`wait_until`, with the processes' logs in the failure."""
        try:
            return wait_until(predicate, timeout_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(p.describe() for p in self.processes)) from None

    def call(self, kind: type, name: str, request: Any = None, timeout_s: float = TIMEOUT_S) -> Any:
        """Call a service and return its response."""
        client = self.node.create_client(kind, name)
        try:
            self.wait(client.service_is_ready, timeout_s, f"service {name}")
            future = client.call_async(kind.Request() if request is None else request)
            self.wait(future.done, timeout_s, f"response of service {name}")
            return future.result()
        finally:
            self.node.destroy_client(client)

    def close(self) -> None:
        """End every process and the test's node; fail if a process does not end by itself."""
        for process in self.processes:
            if process.running:
                process.signal(signal.SIGINT)
        stuck = [process.describe() for process in self.processes if not process.ends_within(EXIT_S)]
        for process in self.processes:
            process.stop(signal.SIGKILL)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
        self._thread.join(TIMEOUT_S)
        assert not stuck, "SIGINT did not end:\n" + "\n".join(stuck)


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_yaml(v) for v in value) + "]"
    return str(value)
