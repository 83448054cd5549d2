"""Record demonstrations: one bag per episode, through a running recorder node.

In a terminal keys rule: Enter starts an episode, Enter again ends it as a success, f as a failure, d throws
it away, q leaves. With --seconds one episode is recorded and ends by itself; without a terminal it ends with
the input.

exit status: 0 when every episode was kept or thrown away as asked, 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dream_vla_ros.nodes.cli.options import add_graph_options, client_options

if TYPE_CHECKING:
    from dream_vla_ros.nodes.recorder.client import RecorderClient

_SHOW_PERIOD_S = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("task", help="the instruction that the episodes show, e.g. 'pick up the red block'")
    parser.add_argument(
        "--operator", default="teleoperation", metavar="WHO", help="who acts (default: %(default)s)"
    )
    parser.add_argument("--notes", default="", metavar="TEXT", help="kept with each episode")
    parser.add_argument("--episodes", type=int, default=0, metavar="N", help="leave after N episodes")
    parser.add_argument(
        "--seconds", type=float, default=0.0, metavar="S", help="record one episode of S seconds"
    )
    parser.add_argument(
        "--failed", action="store_true", help="with --seconds: the episode failed (default: it succeeded)"
    )
    add_graph_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    :returns: The exit status.
    """
    from dream_vla_ros.nodes.recorder.client import RecorderClient, RecordingRefusedError
    from dream_vla_ros.nodes.spinning_node import NotReadyError

    with RecorderClient(timeout_s=arguments.timeout, **client_options(arguments)) as recorder:
        try:
            if arguments.seconds > 0.0 or not sys.stdin.isatty():
                return _record_once(recorder, arguments)
            return _record_many(recorder, arguments)
        except (NotReadyError, RecordingRefusedError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1


def _record_once(recorder: RecorderClient, arguments: argparse.Namespace) -> int:
    _start(recorder, arguments)
    try:
        if arguments.seconds > 0.0:
            time.sleep(arguments.seconds)
        else:
            sys.stdin.read()
    except KeyboardInterrupt:
        _show(recorder.stop(False, "interrupted"))
        return 1
    _show(recorder.stop(not arguments.failed, arguments.notes))
    return 0


def _record_many(recorder: RecorderClient, arguments: argparse.Namespace) -> int:
    done = 0
    with _keys() as read_key:
        while arguments.episodes <= 0 or done < arguments.episodes:
            print(f"Enter starts episode {done + 1}, q leaves")
            while (key := read_key(1.0)) not in ("\n", "q"):
                pass
            if key == "q":
                break
            _start(recorder, arguments)
            began = time.monotonic()
            print("Enter: success   f: failure   d: throw away")
            while (key := read_key(_SHOW_PERIOD_S)) not in ("\n", "f", "d", "q"):
                print(f"  {time.monotonic() - began:6.1f} s", end="\r", flush=True)
            if key in ("d", "q"):
                print(f"{recorder.discard('by key')} is thrown away")
            else:
                _show(recorder.stop(key == "\n", arguments.notes))
                done += 1
            if key == "q":
                break
    return 0


def _start(recorder: RecorderClient, arguments: argparse.Namespace) -> None:
    started = recorder.start(arguments.task, arguments.operator)
    print(f"recording {started.uri}")
    if started.message:
        print(started.message, file=sys.stderr)


def _show(report: Any) -> None:
    seconds = report.duration.sec + report.duration.nanosec * 1e-9
    lost = sum(topic.lost for topic in report.topics)
    print(
        f"{report.episode}: {seconds:.1f} s, {sum(t.recorded for t in report.topics)} messages, {lost} lost"
    )
    for topic in report.topics:
        note = f", {topic.lost} lost" if topic.lost else ""
        print(f"  {topic.recorded:7d}  {topic.topic}{note}")


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """Give a function that waits some seconds for a key and returns it, or nothing."""
    import termios
    import tty

    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)

    def read(timeout_s: float) -> str:
        ready, _, _ = select.select([file], [], [], timeout_s)
        if not ready:
            return ""
        typed = os.read(file, 64).decode("utf-8", errors="ignore")
        return typed[:1].replace("\r", "\n").lower() if typed else "q"

    tty.setcbreak(file)
    try:
        yield read
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)
