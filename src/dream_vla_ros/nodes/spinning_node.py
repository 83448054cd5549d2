"""A node with a context, an executor and a thread of its own, for programs that are not nodes themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import rclpy
from rclpy.client import Client
from rclpy.context import Context
from rclpy.node import Node

from dream_vla_ros.nodes.spinner import Spinner, call_and_wait

T = TypeVar("T")


class NotReadyError(RuntimeError):
    """A part of the robot's graph is not there; the message names it and what to start."""


class SpinningNode:
    """A node spun in the background, apart from any other use of rclpy in the process.

    :param name: Name of the node.
    :param namespace: Namespace of the node; relative names resolve in it.
    :param ros_args: ROS arguments such as ``["-r", "execute_instruction:=/left/execute_instruction"]``.
    """

    def __init__(self, name: str, *, namespace: str = "", ros_args: Sequence[str] = ()) -> None:
        self._name = name
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
        self._spinner = Spinner(self.node)
        self._closed = False

    def start(self) -> None:
        """Begin to spin; subscriptions made before lose nothing."""
        self._spinner.start()

    @property
    def alive(self) -> bool:
        """Whether the node is being spun."""
        return self._spinner.alive

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the node's thread and return what it returns.

        rclpy's action client registers a request after sending it; from another thread the answer could come
        in between and be dropped.

        :raises RuntimeError: If the node no longer spins.
        """
        owner = f"node '{self._name}'"
        if not self.alive:
            raise RuntimeError(f"{owner} is closed")
        return call_and_wait(self._spinner.post, function, owner)

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
        self._spinner.stop()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)
