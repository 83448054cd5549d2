"""The safety layers, and who publishes what the controller hears, as diagnostics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from dream_vla_ros.control.tally import GRIPPER, LIMITS, LayerReport

# Slowing down and waiting for a gripper's wish to last are ordinary work.
_ORDINARY = frozenset({LIMITS, GRIPPER})


def layer_statuses(reports: Iterable[LayerReport], node: str, hardware: str) -> list[DiagnosticStatus]:
    """Write one status per layer.

    :param node: Name of the node, put before each status.
    :param hardware: Name of the robot.
    """
    return [
        DiagnosticStatus(
            level=_level(report),
            name=f"{node}: {report.name}",
            message=report.message if report.acted else "quiet",
            hardware_id=hardware,
            values=[
                KeyValue(key="count", value=str(report.count)),
                KeyValue(key="last", value=report.message),
            ],
        )
        for report in reports
    ]


def publisher_status(counts: Mapping[str, int], node: str, hardware: str) -> DiagnosticStatus:
    """Write how many publishers each topic has that only one may publish on.

    :param counts: Topics to numbers of publishers.
    """
    crowded = [topic for topic, count in counts.items() if count > 1]
    return DiagnosticStatus(
        level=DiagnosticStatus.WARN if crowded else DiagnosticStatus.OK,
        name=f"{node}: publishers",
        message=f"more than one publisher on {', '.join(crowded)}" if crowded else "one each at most",
        hardware_id=hardware,
        values=[KeyValue(key=topic, value=str(count)) for topic, count in counts.items()],
    )


def _level(report: LayerReport) -> bytes:
    if not report.acted or report.name in _ORDINARY:
        return DiagnosticStatus.OK
    return DiagnosticStatus.ERROR if report.halting else DiagnosticStatus.WARN
