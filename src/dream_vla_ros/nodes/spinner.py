"""Runs a node's callbacks in the background."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.node import Node

T = TypeVar("T")

_JOIN_S = 2.0
# Long enough for a busy machine, short enough that a wedged thread is noticed by a person.
_CALL_TIMEOUT_S = 10.0


def call_and_wait(post: Callable[[Callable[[], None]], object], function: Callable[[], T], owner: str) -> T:
    """Run a function in another thread and return what it returns.

    :param post: Hands a function to that thread.
    :param function: What to run there; quick.
    :param owner: Whose thread it is, for the error.
    :raises RuntimeError: If the thread does not run it; and whatever the function raises.
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

    post(run)
    if not done.wait(_CALL_TIMEOUT_S):
        raise RuntimeError(f"{owner} did not answer within {_CALL_TIMEOUT_S:g} s")
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


class Spinner:
    """Runs a node's callbacks in a thread of their own; one that fails is logged and the next one runs.

    :param node: The node.
    :param on_end: Called in that thread when the callbacks end, told to or because the context went down.
    """

    def __init__(self, node: Node, on_end: Callable[[], None] = lambda: None) -> None:
        self._node = node
        self._on_end = on_end
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{node.get_name()} callbacks", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether callbacks are being run."""
        return self._thread.is_alive() and not self._stopping.is_set()

    def start(self) -> None:
        """Begin; what arrived since the node was made is not lost."""
        self._thread.start()

    def post(self, function: Callable[[], None]) -> None:
        """Run a function among the callbacks, as soon as the one that runs is done."""
        self._executor.create_task(function)

    def stop(self) -> None:
        """End the callbacks; wait for the one that runs, but not for ever. May be called twice."""
        self._stopping.set()
        self._executor.wake()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
        # Only now: shutting down takes away what a running executor waits with.
        self._executor.shutdown(timeout_sec=_JOIN_S)

    def _run(self) -> None:
        while self._executor.context.ok() and not self._stopping.is_set() and self._spin_once():
            pass
        self._stopping.set()
        self._on_end()

    def _spin_once(self) -> bool:
        """Run the next callback; say whether there can be more."""
        try:
            self._executor.spin_once(timeout_sec=1.0)
        except (ExternalShutdownException, ShutdownException):
            return False
        except Exception:
            # One bad callback must not leave the others deaf.
            self._node.get_logger().error(f"a callback failed:\n{traceback.format_exc()}")
        return True
