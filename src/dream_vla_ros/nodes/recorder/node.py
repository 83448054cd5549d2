"""The recorder: everything that the robot's file names, one bag per episode.

``~/start_episode``, ``~/stop_episode`` and ``~/discard_episode`` drive it, for example from ``dream_vla
record``. Messages are kept serialised as they came.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message

from dream_vla_msgs.msg import ControllerState, TopicCount
from dream_vla_msgs.srv import DiscardEpisode, StartEpisode, StopEpisode
from dream_vla_ros.data.bag_writer import BagStorage, WriterLimits
from dream_vla_ros.data.episode_recorder import EpisodeRecorder, EpisodeReport, RecorderError, Robot
from dream_vla_ros.data.recorded_topics import recorded_topics
from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.conversions import duration_to_msg, time_from_msg
from dream_vla_ros.nodes.parameters import declare, declare_embodiment
from dream_vla_ros.nodes.recorder.diagnostics import recorder_status
from dream_vla_ros.nodes.recorder.images import ImageEncoder, ImageFormat
from dream_vla_ros.nodes.recorder.topics import RecorderTopics, Source
from dream_vla_ros.nodes.serving import run_node
from dream_vla_ros.nodes.spinner import Spinner
from dream_vla_ros.parameters import ParameterError, param

_LOOK_PERIOD_S = 0.5
_DIAGNOSTICS_PERIOD_S = 1.0
_LOG_PERIOD_S = 5.0


@dataclass(frozen=True)
class RecorderParameters:
    """Where and how to record."""

    folder: str = param("recordings", "Folder that the bags are made in.")
    storage: BagStorage = param(BagStorage.MCAP, "mcap or sqlite3.")
    images: ImageFormat = param(
        ImageFormat.AS_PUBLISHED, "as_published, or raw images encoded as jpeg or png."
    )
    jpeg_quality: int = param(95, "Quality of images encoded as jpeg.", minimum=1, maximum=100)
    robot_file: str = param(
        "", "The robot's parameter file, kept in each bag; empty writes down the node's own parameters."
    )
    extra_topics: tuple[str, ...] = param((), "Further topics to record.")
    min_free_gb: float = param(
        1.0, "Recording ends before the disk has less room than this [GB].", minimum=0.01, maximum=1e5
    )


class RecorderNode(Node):
    """Records episodes on demand.

    :raises ParameterError: Naming the parameter and what is allowed.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__("recorder", **arguments)
        embodiment = declare_embodiment(self)
        parameters = declare(self, RecorderParameters)
        self._folder = Path(parameters.folder).expanduser().absolute()
        self.recorder = EpisodeRecorder(
            self._folder,
            Robot(embodiment.robot, robot_text(embodiment, parameters.robot_file)),
            storage=BagStorage(parameters.storage),
            limits=WriterLimits(min_free_bytes=round(parameters.min_free_gb * 1e9)),
        )
        self._logged: dict[str, float] = {}
        self._taken_over = False
        self._cut_short = ""
        self._controller_topic = self.resolve_topic_name("controller_state")
        self._encoder = ImageEncoder(
            ImageFormat(parameters.images), parameters.jpeg_quality, self.recorder.write, self._lose_image
        )
        self._topics = RecorderTopics(
            self, recorded_topics(embodiment, parameters.extra_topics), self._receive, self._lose
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(StartEpisode, "~/start_episode", self._on_start)
        self.create_service(StopEpisode, "~/stop_episode", self._on_stop)
        self.create_service(DiscardEpisode, "~/discard_episode", self._on_discard)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_LOOK_PERIOD_S, self._look, clock=steady)
        self.create_timer(_DIAGNOSTICS_PERIOD_S, self._diagnose, clock=steady)
        self._topics.look()
        self.get_logger().info(
            f"recording {embodiment.robot} to {self._folder} ({BagStorage(parameters.storage).value}); "
            f"start with 'dream_vla record' or '{self.get_fully_qualified_name()}/start_episode'"
        )

    def end(self) -> None:
        """Close what is open, as an episode that failed: nobody said that its task was done."""
        if self.recorder.name:
            self.get_logger().warning(f"{self.recorder.name} ends with the recorder")
            self._stop(False, "the recorder was ended during the episode")
        self._encoder.close()

    def missing(self) -> list[str]:
        """Return what a training set would lack, in words."""
        found = []
        for source in self._topics.sources:
            if source.wanted.needed and source.problem:
                found.append(f"{source.full_name}: {source.problem}")
            elif source.wanted.needed and self.recorder.name:
                silence_s = self.recorder.silence_s(self._recorded_name(source))
                if silence_s > source.wanted.silent_after_s:
                    found.append(f"{source.full_name}: silent for {silence_s:.1f} s")
        return found

    def _recorded_name(self, source: Source) -> str:
        return source.full_name if source.stored is None else self._encoder.name_of(source.stored)

    def _receive(self, source: Source, data: bytes, received_ns: int) -> None:
        assert source.stored is not None
        if source.full_name == self._controller_topic:
            self._watch_takeover(data)
        if not self.recorder.name:
            return
        if self._encoder.takes(source.stored):
            self._encoder.put(source.stored, data, received_ns)
        else:
            self.recorder.write(source.stored, data, received_ns)

    def _watch_takeover(self, data: bytes) -> None:
        state = deserialize_message(data, ControllerState)
        if state.taken_over == self._taken_over:
            return
        self._taken_over = state.taken_over
        try:
            self.recorder.take_over(state.taken_over, time_from_msg(state.header.stamp))
        except RecorderError as error:
            self._warn("take-over", str(error))

    def _lose(self, source: Source, count: int) -> None:
        self.recorder.lose(self._recorded_name(source), count)
        if self.recorder.name:
            self._warn(source.full_name, f"{source.full_name}: {count} messages never came")

    def _lose_image(self, topic: str, reason: str) -> None:
        self.recorder.lose(topic)
        self._warn(topic, f"{topic}: an image is lost: {reason}")

    def _on_start(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        self._topics.look()
        now_ns = self.get_clock().now().nanoseconds
        try:
            path = self.recorder.start(
                request.task, request.operator_name, now_ns, taken_over=self._taken_over
            )
        except RecorderError as error:
            response.message = str(error)
            self.get_logger().error(f"not recording: {error}")
            return response
        self._cut_short = ""
        for source, data in self._topics.latched():
            assert source.stored is not None
            self.recorder.write(source.stored, data, now_ns)
        missing = self.missing()
        response.success = True
        response.message = "".join(f"warning: {one}\n" for one in missing).rstrip()
        response.episode, response.uri = path.name, str(path)
        self.get_logger().info(f"recording {path.name}: {request.task}")
        for one in missing:
            self.get_logger().warning(one)
        return response

    def _on_stop(self, request: StopEpisode.Request, response: StopEpisode.Response) -> StopEpisode.Response:
        try:
            report = self._stop(request.task_succeeded, request.notes)
        except RecorderError as error:
            response.message = f"{error}{self._cut_short}"
            return response
        response.success, response.message = not report.failure, report.failure
        response.episode, response.uri = report.name, str(report.path)
        response.duration = duration_to_msg(report.duration_s)
        response.topics = [
            TopicCount(topic=name, recorded=report.recorded.get(name, 0), lost=report.lost.get(name, 0))
            for name in sorted({*report.recorded, *report.lost})
        ]
        return response

    def _on_discard(
        self, request: DiscardEpisode.Request, response: DiscardEpisode.Response
    ) -> DiscardEpisode.Response:
        try:
            self._encoder.drain()
            response.episode = self.recorder.discard()
        except RecorderError as error:
            response.message = f"{error}{self._cut_short}"
            return response
        response.success = True
        self.get_logger().info(f"{response.episode} is deleted: {request.reason or 'no reason given'}")
        return response

    def _stop(self, success: bool | None, notes: str) -> EpisodeReport:
        self._encoder.drain()
        report = self.recorder.stop(success, notes, self.get_clock().now().nanoseconds)
        total, lost = sum(report.recorded.values()), sum(report.lost.values())
        words = f"{report.name}: {report.duration_s:.1f} s, {total} messages, {lost} lost"
        if report.failure:
            self.get_logger().error(f"{words}: {report.failure}")
        else:
            self.get_logger().info(words)
        return report

    def _look(self) -> None:
        self._topics.look()
        status = self.recorder.status()
        if status is None:
            return
        if status.failure:
            self.get_logger().error(f"recording of {self.recorder.name} ends: {status.failure}")
            self._cut_short = f"; {self.recorder.name} was cut short: {status.failure}"
            self._stop(None, f"cut short: {status.failure}")
            return
        for problem in self.missing():
            self._warn(problem.partition(":")[0], f"recording {self.recorder.name}: {problem}")

    def _diagnose(self) -> None:
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        array.status = [
            recorder_status(
                self.get_name(), self.recorder, self._topics.sources, self.missing(), self._folder
            )
        ]
        self._diagnostics.publish(array)

    def _warn(self, topic: str, message: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(topic, -_LOG_PERIOD_S) >= _LOG_PERIOD_S:
            self._logged[topic] = now
            self.get_logger().warning(message)


def robot_text(embodiment: Embodiment, file: str) -> str:
    """Return the robot's parameter file, or the same in other words.

    :param file: Its path; empty writes the parameters down.
    :raises ParameterError: If it cannot be read or is of another robot than the node's parameters.
    """
    if not file:
        parameters = {"/**": {"ros__parameters": embodiment.to_parameters()}}
        text: str = yaml.safe_dump(parameters, sort_keys=False)
        return text
    path = Path(file).expanduser()
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ParameterError(f"parameter 'robot_file': {error}") from error
    if Embodiment.from_file(path) != embodiment:
        raise ParameterError(
            f"parameter 'robot_file': {path} says other than the node's own parameters; start the node with "
            f"--params-file {path}"
        )
    return content


def main(args: Sequence[str] | None = None) -> int:
    """Run the recorder until SIGINT or SIGTERM.

    :returns: Exit code: 0 when told to end, 2 for wrong parameters.
    """
    return run_node("recorder", RecorderNode, _serve, args)


def _serve(node: RecorderNode, ending: threading.Event) -> int:
    spinner = Spinner(node, ending.set)
    spinner.start()
    ending.wait()
    spinner.stop()
    node.end()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
