"""The recorder's health: what comes in, what is lost, what is missing, and how long the disk will do."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from dream_vla_ros.data.episode_recorder import EpisodeRecorder
from dream_vla_ros.nodes.recorder.topics import Source


def recorder_status(
    node: str, recorder: EpisodeRecorder, sources: Sequence[Source], missing: Sequence[str], folder: Path
) -> DiagnosticStatus:
    """Write the recorder's status.

    :param node: Name of the node, put before it.
    :param missing: What a training set would lack, in words.
    :param folder: Where bags are made.
    """
    status, lost = recorder.status(), recorder.lost()
    values: dict[str, object] = {}
    if status is None:
        level, message = DiagnosticStatus.OK, "not recording"
        values["free [GB]"] = f"{_free_bytes(folder) / 1e9:.2f}"
        values |= {f"{source.full_name} received": source.received for source in sources if source.received}
    else:
        level, message = DiagnosticStatus.OK, f"recording {recorder.name} for {recorder.elapsed_s:.0f} s"
        values["free [GB]"] = f"{status.free_bytes / 1e9:.2f}"
        values["waiting for the disk [MB]"] = f"{status.waiting_bytes / 1e6:.1f}"
        values["slowest write [ms]"] = f"{status.slowest_flush_s * 1e3:.0f}"
        values |= dict(sorted(status.written.items()))
        values |= {f"{name} lost": count for name, count in sorted(lost.items()) if count}
        if any(lost.values()):
            level, message = DiagnosticStatus.WARN, f"{message}; {sum(lost.values())} messages lost"
        if status.failure:
            level, message = DiagnosticStatus.ERROR, f"{recorder.name}: {status.failure}"
    if missing:
        level = max(level, DiagnosticStatus.WARN)
        message = f"{message}; missing {', '.join(missing)}"
    return DiagnosticStatus(
        level=level,
        name=f"{node}: recording",
        message=message,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def _free_bytes(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
