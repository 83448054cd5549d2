"""Drive the arm from this terminal's keyboard, also over ssh.

The keys are published as a joystick on 'joy', for a teleop node with joy.device:=keyboard. The arm moves
while a key is kept down and stands when none comes, when the terminal closes or the connection is lost.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dream_vla_ros.teleop.keyboard import HELP, Keyboard

_PERIOD_S = 1.0 / 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--speed", type=float, default=0.5, metavar="S", help="0.1 to 1 (default: 0.5)")
    parser.add_argument("--namespace", default="", metavar="NS", help="namespace of the robot's nodes")


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command.

    :returns: The exit status.
    """
    if not sys.stdin.isatty():
        print("error: this needs a terminal; run it in one of its own", file=sys.stderr)
        return 1
    from sensor_msgs.msg import Joy

    from dream_vla_ros.nodes.spinning_node import SpinningNode

    keyboard = Keyboard(min(1.0, max(0.1, arguments.speed)))
    spinning = SpinningNode(
        f"keyboard_{os.getpid()}", namespace=arguments.namespace, ros_args=arguments.ros_args
    )
    publisher = spinning.node.create_publisher(Joy, "joy", 10)
    spinning.start()
    print(HELP)
    try:
        with _unbuffered():
            for key in _keys():
                if key == "q":
                    break
                if key:
                    keyboard.press(key, time.monotonic())
                axes, buttons = keyboard.joy(time.monotonic())
                message = Joy(axes=axes, buttons=buttons)
                message.header.stamp = spinning.node.get_clock().now().to_msg()
                publisher.publish(message)
                if not publisher.get_subscription_count():
                    print("nothing listens on 'joy': start the teleop node   ", end="\r", flush=True)
                else:
                    print(f"speed {keyboard.speed:.1f}" + " " * 50, end="\r", flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        spinning.close()
        print()
    return 0


def _keys() -> Iterator[str]:
    """Give each key as it comes, and nothing once per period; end with the terminal."""
    file = sys.stdin.fileno()
    due = time.monotonic()
    while True:
        ready, _, _ = select.select([file], [], [], max(0.0, due - time.monotonic()))
        if not ready:
            due = time.monotonic() + _PERIOD_S
            yield ""
            continue
        typed = os.read(file, 64)
        if not typed:
            return
        text = typed.decode("utf-8", errors="ignore")
        if text.startswith("\x1b"):
            continue
        yield from text


@contextmanager
def _unbuffered() -> Iterator[None]:
    """Let keys come one by one and unseen; put the terminal back afterwards."""
    import termios
    import tty

    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    tty.setcbreak(file)
    try:
        yield
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)
