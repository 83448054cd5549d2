"""What the policy node says about itself on ``/diagnostics``."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.nodes.camera_source import CameraStatistics
from dream_vla_ros.policy.pacing import LatencyWindow
from dream_vla_ros.policy.policy import Policy

# Less than this share of the expected rate is worth a warning; drivers round theirs.
_SLOW_CAMERA = 0.7


class PolicyDiagnostics:
    """Publishes one status per camera and one for inference.

    :param node: Node that publishes.
    :param embodiment: Says what rate is expected of the cameras.
    """

    def __init__(self, node: Node, embodiment: Embodiment) -> None:
        self._node = node
        self._out_of_range = 0
        self._expected_hz = embodiment.timing.camera_rate
        self._name = node.get_fully_qualified_name().lstrip("/")
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def publish(
        self,
        policy: Policy[Any],
        cameras: list[CameraStatistics],
        latencies: LatencyWindow,
        inference_times: LatencyWindow,
        out_of_range: int = 0,
        delay_s: float | None = None,
    ) -> None:
        """Publish the present figures.

        :param latencies: Capture of the oldest image to publication.
        :param inference_times: Time the policy took.
        :param out_of_range: Numbers beyond the training data so far.
        :param delay_s: Action time executed from capture to take-over; None before it was measured.
        """
        inference = self._inference(policy, latencies, inference_times)
        delay = "" if delay_s is None else f"{delay_s:.3f}"
        inference.values.append(KeyValue(key="delay of execution [s]", value=delay))
        array = DiagnosticArray(status=[inference, self._training_range(out_of_range)])
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status += [self._camera(camera) for camera in cameras]
        self._publisher.publish(array)

    def destroy(self) -> None:
        """Publish no more."""
        self._node.destroy_publisher(self._publisher)

    def _inference(
        self, policy: Policy[Any], latencies: LatencyWindow, inference_times: LatencyWindow
    ) -> DiagnosticStatus:
        values = {"model": policy.name, "objective": policy.objective, "predictions": str(len(latencies))}
        for name, window in (("latency", latencies), ("inference", inference_times)):
            median, p95 = window.percentiles()
            values |= {f"{name}_p50 [s]": f"{median:.3f}", f"{name}_p95 [s]": f"{p95:.3f}"}
        return self._status("inference", DiagnosticStatus.OK, "active", values)

    def _training_range(self, count: int) -> DiagnosticStatus:
        new, self._out_of_range = count - self._out_of_range, count
        return self._status(
            "training range",
            DiagnosticStatus.WARN if new else DiagnosticStatus.OK,
            f"{new} numbers of actions lay beyond the training data" if new else "within",
            {"brought back": str(count)},
        )

    def _camera(self, camera: CameraStatistics) -> DiagnosticStatus:
        level, message = DiagnosticStatus.OK, "receiving"
        if camera.rate_hz == 0.0:
            level, message = DiagnosticStatus.ERROR, "no images"
        elif camera.rate_hz < _SLOW_CAMERA * self._expected_hz:
            level = DiagnosticStatus.WARN
            message = f"{camera.rate_hz:.1f} Hz, timing.camera_rate is {self._expected_hz:g} Hz"
        values = {
            "topic": camera.topic,
            "rate [Hz]": f"{camera.rate_hz:.1f}",
            "received": str(camera.received),
            "refused": str(camera.refused),
            "last_refusal": camera.last_refusal,
        }
        return self._status(f"camera {camera.name}", level, message, values)

    def _status(self, part: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=f"{self._name}: {part}",
            hardware_id=part,
            message=message,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
