"""The client side of the recorder's services."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rclpy.client import Client

from dream_vla_msgs.srv import DiscardEpisode, StartEpisode, StopEpisode
from dream_vla_ros.nodes.spinning_node import SpinningNode

HINT = "recorder node: 'ros2 run dream_vla_ros recorder --ros-args --params-file config/<robot>.yaml'"
# Closing writes an index and waits for the disk.
_CLOSE_TIMEOUT_S = 60.0


class RecordingRefusedError(RuntimeError):
    """The recorder refused or failed; the message is its reason."""


class RecorderClient:
    """Starts and ends episodes; use it as a context manager.

    :param timeout_s: Longest time for the recorder to be there and to start.
    """

    def __init__(self, *, timeout_s: float, namespace: str = "", ros_args: Sequence[str] = ()) -> None:
        self._timeout_s = timeout_s
        self._spinning = SpinningNode(f"record_{os.getpid()}", namespace=namespace, ros_args=ros_args)
        node = self._spinning.node
        self._start = node.create_client(StartEpisode, "recorder/start_episode")
        self._stop = node.create_client(StopEpisode, "recorder/stop_episode")
        self._discard = node.create_client(DiscardEpisode, "recorder/discard_episode")
        self._spinning.start()
        self._recording = False

    def __enter__(self) -> RecorderClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._recording:
                self.stop(False, "the client ended during the episode")
        finally:
            self._spinning.close()

    def start(self, task: str, operator: str) -> StartEpisode.Response:
        """Begin an episode.

        :raises RecordingRefusedError: With the recorder's reason.
        :raises NotReadyError: If there is no recorder.
        """
        request = StartEpisode.Request(task=task, operator_name=operator)
        response = self._call(self._start, request, self._timeout_s)
        self._recording = True
        return response

    def stop(self, success: bool, notes: str) -> StopEpisode.Response:
        """End the episode and keep it.

        :raises RecordingRefusedError: With the recorder's reason; what was written can be recovered.
        """
        self._recording = False
        request = StopEpisode.Request(task_succeeded=success, notes=notes)
        return self._call(self._stop, request, _CLOSE_TIMEOUT_S)

    def discard(self, reason: str) -> str:
        """End the episode and delete it.

        :returns: Its name.
        :raises RecordingRefusedError: With the recorder's reason.
        """
        self._recording = False
        response = self._call(self._discard, DiscardEpisode.Request(reason=reason), _CLOSE_TIMEOUT_S)
        return str(response.episode)

    def _call(self, client: Client, request: object, timeout_s: float) -> Any:
        response = self._spinning.call_service(client, request, timeout_s, owner=HINT)
        if not response.success:
            raise RecordingRefusedError(response.message)
        return response
