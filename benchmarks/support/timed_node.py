"""Runs a node of the package and notes when the stages of its work begin and end.

`python -m support.timed_node LOG MODULE [ROS arguments]`; the log, written when the node ends, has one JSON
array per line: stage, a key (stamp or chunk), begin and end in nanoseconds of the system's clock, which is
ROS time here. Nothing of the node is changed but these notes, kept in memory.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Note = tuple[str, int, int, int]
NOTES: list[Note] = []


def wrap(owner: Any, name: str, stage: str, key: Callable[..., int] = lambda *_, **__: 0) -> None:
    """Note each call of a method.

    :param key: Takes the arguments of the call; what it belongs to.
    """
    called = getattr(owner, name)

    @functools.wraps(called)
    def noted(*arguments: Any, **named: Any) -> Any:
        begin = time.time_ns()
        try:
            return called(*arguments, **named)
        finally:
            NOTES.append((stage, key(*arguments, **named), begin, time.time_ns()))

    setattr(owner, name, noted)


def wrap_policy() -> None:
    """Note the stages of a prediction."""
    from dream_vla_ros.model import DreamVLAForActionPrediction, DreamVLAProcessor
    from dream_vla_ros.nodes.camera_source import CameraSource
    from dream_vla_ros.nodes.policy.base import PolicyNodeBase
    from dream_vla_ros.policy.dream_vla import DreamVLAPolicy
    from dream_vla_ros.policy.frames import CameraBuffer
    from dream_vla_ros.policy.transforms import PreprocessImages

    wrap(CameraBuffer, "add", "received", lambda _, frame, *__: frame.stamp_ns)
    wrap(CameraSource, "latest", "conversion")
    wrap(DreamVLAPolicy, "infer", "infer", lambda _, seen: seen.oldest_stamp_ns)
    wrap(PreprocessImages, "__call__", "preprocessing")
    wrap(DreamVLAProcessor, "__call__", "patches and prompt")
    wrap(DreamVLAForActionPrediction, "predict_actions", "inference")
    wrap(PolicyNodeBase, "_publish_chunk", "publishing", lambda _, __, made: made.stamp_ns)


def wrap_controller() -> None:
    """Note chunks that come and commands that leave."""
    from dream_vla_ros.nodes.controller.node import ControllerNode

    wrap(ControllerNode, "_on_chunk", "chunk", lambda _, msg: _nanoseconds(msg.header.stamp))
    wrap(ControllerNode, "_tick", "tick")
    wrap(ControllerNode, "_send", "command", lambda _, __, command: command.chunk_id)


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)


WRAPS = {
    "dream_vla_ros.nodes.policy.node": wrap_policy,
    "dream_vla_ros.nodes.controller.node": wrap_controller,
}


def main() -> int:
    """Run the node until it is told to end, then write the notes."""
    log, name, *arguments = sys.argv[1:]
    if name in WRAPS:
        WRAPS[name]()
    module = importlib.import_module(name)
    try:
        return int(module.main([name, *arguments]) or 0)
    finally:
        lines = (json.dumps(note) for note in NOTES)
        Path(log).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # the module that nodes import, rather than this one: both would have notes of their own
    from support import timed_node

    raise SystemExit(timed_node.main())
