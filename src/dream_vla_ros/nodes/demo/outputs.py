"""Write what the demo measured and saw into its output folder."""

from __future__ import annotations

import json
from pathlib import Path

from dream_vla_ros.nodes.cli.progress import ProgressLine
from dream_vla_ros.nodes.demo.summary import Summary
from dream_vla_ros.report.path_plot import write_path_plot
from dream_vla_ros.report.recording import Recording
from dream_vla_ros.report.still import write_still
from dream_vla_ros.report.video import write_video

SUMMARY = "summary.json"
PLOT = "ee_path.png"
STILL = "demo.png"
VIDEO = "demo.mp4"


def write_outputs(
    summary: Summary, recording: Recording, out: Path, *, video: bool, progress: ProgressLine
) -> None:
    """Write figures, plot, still and video.

    :param out: An existing folder.
    :param video: Whether to write the video, which takes longest.
    :raises OSError: If a file cannot be written.
    """
    (out / SUMMARY).write_text(json.dumps(summary.as_json(), indent=2) + "\n", encoding="utf-8")
    if summary.plans is not None:
        summary.plans.write(out)
    title = f"{summary.policy}{', UNTRAINED weights' if summary.untrained else ''}"
    write_path_plot(recording, out / PLOT, title=title)
    write_still(recording, out / STILL)
    if video:
        write_video(
            recording, out / VIDEO, on_progress=lambda share: progress.show(f"video {100 * share:.0f} %")
        )
        progress.end(f"video {out / VIDEO}")
