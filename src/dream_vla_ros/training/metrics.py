"""Metrics of a training: one JSON object per line, and TensorBoard where it is installed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


class MetricsLog:
    """Writes metrics as they come.

    :param folder: Gets ``metrics.jsonl`` and, where TensorBoard is installed, its event files.
    :param resume_step: Lines of later steps are dropped: they will be written again.
    """

    def __init__(self, folder: Path, resume_step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / METRICS
        kept = [entry for entry in read_metrics(folder) if entry["step"] <= resume_step]
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
        os.replace(partial, self._path)
        self._board = _tensorboard(folder, resume_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line; a number that is not finite becomes null."""
        clean = {key: value if math.isfinite(value) else None for key, value in values.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **clean}) + "\n")
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(key, value, step)

    def close(self) -> None:
        """Finish TensorBoard's files."""
        if self._board is not None:
            self._board.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return all whole lines of a training's metrics; none if it has not begun."""
    path = folder / METRICS
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    # The last line may have been cut short when the training was killed.
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
