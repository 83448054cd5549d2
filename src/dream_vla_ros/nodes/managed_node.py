"""A lifecycle node whose transitions never block its executor, and how it is served to its end."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.lifecycle.node import LifecycleNodeMixin
from rclpy.node import Node
from rclpy.task import Future

from dream_vla_ros.nodes.spinner import Spinner, call_and_wait

Value = TypeVar("Value")

_LAST_WORDS_S = 1.0
# What was sent last lies in memory that other processes share, and goes with this one: time to take it.
_TAKEN_S = 0.3


class ManagedNode(LifecycleNodeMixin, Node):
    """Runs transitions in threads of their own, so that services, actions and topics are served meanwhile.

    Derived classes override ``configure``, ``activate``, ``deactivate`` and ``cleanup``, which may take
    their time and raise. Requests that come in the middle of a transition, or do not fit the state, are
    refused; upstream's node would leave them unanswered and end.

    :param name: Name of the node.
    """

    def __init__(self, name: str, **arguments: Any) -> None:
        Node.__init__(self, name, **arguments)
        self._transition = threading.Lock()
        # Reentrant, so that get_state is answered while a transition runs.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state  # type: ignore[assignment]

    @property
    def lifecycle_state(self) -> str:
        """Name of the present state, for example ``active`` or ``configuring``."""
        return str(self._state_machine.current_state[1])

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return True

    @property
    def idle(self) -> bool:
        """Whether every goal has its outcome sent."""
        return True

    def configure(self) -> None:
        """Prepare everything; raising leaves the node unconfigured."""

    def activate(self) -> None:
        """Begin to work; raising leaves the node inactive."""

    def deactivate(self) -> None:
        """Stop working."""

    def cleanup(self) -> None:
        """Undo what :meth:`configure` did; also after it raised, so it must cope with any part missing."""

    def start(self) -> bool:
        """Configure and activate, and wait for both.

        :returns: Whether the node is active.
        """
        for transition in (self.trigger_configure, self.trigger_activate):
            with self._transition:
                try:
                    if transition() != TransitionCallbackReturn.SUCCESS:
                        return False
                except Exception as error:
                    self.get_logger().warning(f"not started: {error}")
                    return False
        return True

    def shut_down(self) -> None:
        """Leave every state behind, as before the process ends."""
        with self._transition:
            if self.lifecycle_state not in ("unconfigured", "inactive", "active"):
                return
            try:
                self.trigger_shutdown()
            except Exception as error:
                self.get_logger().error(f"shutdown failed: {error}")

    def in_executor(self, function: Callable[[], Value]) -> Value:
        """Run a function in the executor's thread, where entities are made and destroyed safely.

        :raises Exception: What the function raises.
        """
        if self.executor is None:
            return function()
        return call_and_wait(self.executor.create_task, function, f"node '{self.get_name()}'")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run :meth:`configure`."""
        if self._attempt("configure", self.configure):
            return TransitionCallbackReturn.SUCCESS
        self._attempt("clean up", self.cleanup)
        return TransitionCallbackReturn.FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run :meth:`activate`."""
        if self._attempt("activate", self.activate):
            return TransitionCallbackReturn.SUCCESS
        self._attempt("deactivate", self.deactivate)
        return TransitionCallbackReturn.FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run :meth:`deactivate`; whatever it meets, the node no longer works afterwards."""
        self._attempt("deactivate", self.deactivate)
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run :meth:`cleanup`."""
        self._attempt("clean up", self.cleanup)
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run what leads from the former state to the end."""
        if state.label == "active":
            self._attempt("deactivate", self.deactivate)
        if state.label in ("active", "inactive"):
            self._attempt("clean up", self.cleanup)
        return TransitionCallbackReturn.SUCCESS

    def _attempt(self, what: str, function: Callable[[], None]) -> bool:
        started_s = time.monotonic()
        try:
            function()
        except Exception as error:
            self.get_logger().error(f"cannot {what}: {type(error).__name__}: {error}")
            return False
        self.get_logger().info(f"{what}: done in {time.monotonic() - started_s:.1f} s")
        return True

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        if not self._transition.acquire(blocking=False):
            self.get_logger().warning(
                f"transition '{request.transition.label or request.transition.id}' refused: the node is "
                f"{self.lifecycle_state}; ask again when it is done"
            )
            response.success = False
            return response
        done = Future(executor=self.executor)

        def transit() -> None:
            try:
                self._change_state(request, response)
            except Exception as error:
                self.get_logger().warning(
                    f"transition '{request.transition.label or request.transition.id}' refused in state "
                    f"'{self.lifecycle_state}': {error}"
                )
                response.success = False
            finally:
                self._transition.release()
                done.set_result(None)
                if self.executor is not None:
                    self.executor.wake()

        threading.Thread(target=transit, name="transition", daemon=True).start()
        await done
        return response


def serve_managed(
    node: ManagedNode,
    ending: threading.Event,
    *,
    end: Callable[[], None],
    shutdown_s: float,
    close: Callable[[], None] = lambda: None,
) -> int:
    """Serve a lifecycle node until the event is set, then leave in good order: goals ended, outcomes sent.

    :param end: Ends what is being carried out.
    :param shutdown_s: How long the node may take to leave its states; launch sends SIGTERM 5 s after SIGINT.
    :param close: Called after the last goal's outcome was sent.
    :returns: Exit code 0. A node that does not leave its states in time takes the process with it.
    """
    spinner = Spinner(node, ending.set)
    spinner.start()
    if node.autostart:
        threading.Thread(target=node.start, name="autostart", daemon=True).start()
    ending.wait()
    was_idle = node.idle
    leaving = threading.Thread(target=node.shut_down, name="shutdown", daemon=True)
    leaving.start()
    end()
    leaving.join(shutdown_s)
    deadline = time.monotonic() + _LAST_WORDS_S
    while not node.idle and time.monotonic() < deadline:
        time.sleep(0.01)
    if not was_idle:
        time.sleep(_TAKEN_S)
    close()
    if leaving.is_alive():
        # A model is loading or running; tearing it down from here would crash the process.
        node.get_logger().warning("ended while its model was loading or running")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    spinner.stop()
    return 0
