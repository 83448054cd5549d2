"""A node with a context, an executor and a thread of its own, for programs that are not nodes themselves."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import rclpy
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.node import Node

T = TypeVar("T")

# Long enough for a busy machine, short enough that a wedged thread is noticed by a person.
_CALL_TIMEOUT_S = 10.0


class NotReadyError(RuntimeError):
    """A part of the robot's graph is not there; the message names it and what to start."""


class SpinningNode:
    """A node spun in the background, apart from any other use of rclpy in the process.

    :param name: Name of the node.
    :param namespace: Namespace of the node; relative names resolve in it.
    :param ros_args: ROS arguments such as ``["-r", "execute_instruction:=/left/execute_instruction"]``.
    """

    def __init__(self, name: str, *, namespace: str = "", ros_args: Sequence[str] = ()) -> None:
        self._context = Context()
        # A context of its own installs no signal handlers: Ctrl-C stays a KeyboardInterrupt of the caller.
        rclpy.init(context=self._context, args=[])
        arguments = list(ros_args)
        if arguments and arguments[0] != "--ros-args":
            arguments.insert(0, "--ros-args")
        try:
            self.node = Node(
                name,
                context=self._context,
                namespace=namespace,
                cli_args=arguments,
                use_global_arguments=False,
                enable_rosout=False,
                start_parameter_services=False,
            )
        except BaseException:
            rclpy.shutdown(context=self._context)
            raise
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._closing = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)

    def start(self) -> None:
        """Begin to spin; subscriptions made before lose nothing."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the node is being spun."""
        return self._thread.is_alive() and not self._closing.is_set()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the node's thread and return what it returns.

        rclpy's action client registers a request after sending it; from another thread the answer could come
        in between and be dropped.

        :raises RuntimeError: If the node no longer spins.
        """
        done = threading.Event()
        outcome: list[Any] = [None, None]

        def run() -> None:
            try:
                outcome[0] = function()
            except Exception as error:
                outcome[1] = error
            finally:
                done.set()

        if not self.alive:
            raise RuntimeError(f"node '{self._thread.name}' is closed")
        self._executor.create_task(run)
        if not done.wait(_CALL_TIMEOUT_S):
            raise RuntimeError(f"node '{self._thread.name}' did not answer within {_CALL_TIMEOUT_S:g} s")
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def call_service(self, client: Client, request: Any, timeout_s: float, *, owner: str) -> Any:
        """Call a service from any thread but the node's own.

        :param client: A client made on :attr:`node`.
        :param timeout_s: Longest time for the service to appear and to answer.
        :param owner: Who serves it and how to start that, for the error.
        :returns: The response.
        :raises NotReadyError: If the service is not there or does not answer.
        """
        deadline = time.monotonic() + timeout_s
        while not client.service_is_ready():
            if time.monotonic() >= deadline:
                raise NotReadyError(f"no service '{client.service_name}' after {timeout_s:g} s ({owner})")
            time.sleep(0.02)
        answered = threading.Event()
        future = self.call(lambda: client.call_async(request))
        future.add_done_callback(lambda _: answered.set())
        # A service that has just been found gets a second however late it was found.
        if not answered.wait(max(deadline - time.monotonic(), 1.0)):
            client.remove_pending_request(future)
            raise NotReadyError(f"service '{client.service_name}' does not answer ({owner})")
        return future.result()

    def close(self) -> None:
        """Stop spinning and leave the graph; does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        self._closing.set()
        self._executor.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout=_CALL_TIMEOUT_S)
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _spin(self) -> None:
        while self._context.ok() and not self._closing.is_set():
            self._spin_once()

    def _spin_once(self) -> None:
        try:
            self._executor.spin_once(timeout_sec=1.0)
        except (ExternalShutdownException, ShutdownException):
            self._closing.set()
        except Exception:
            # One bad callback must not leave the client deaf; what went wrong is logged.
            self.node.get_logger().error(traceback.format_exc())
