"""What the controller expects of an adapter, and what adapters share."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Protocol

from dream_vla_ros.control import Command
from dream_vla_ros.geometry import Pose

# Where packages come from that no distribution ships.
_SOURCES = {
    "franka_msgs": "build franka_ros2 (github.com/frankarobotics/franka_ros2) and source its workspace",
    "interbotix_xs_msgs": (
        "build interbotix_ros_core (github.com/Interbotix/interbotix_ros_core) and source its workspace"
    ),
}


class AdapterError(ValueError):
    """A command that could not be handed to the driver; the controller holds the arm and says so."""


class Adapter(Protocol):
    """Hands commands to one kind of driver. Made with the controller's node and the embodiment."""

    def send(self, command: Command) -> None:
        """Hand over one tick's command; called at every tick, in the thread of the control loop.

        Must not block. ``command.send`` is False where the driver is to hear nothing.

        :param command: Pose and twist of the target, and the gripper.
        :raises AdapterError: If the driver cannot be reached.
        """

    def close(self) -> None:
        """Let go of the driver; the arm stands still by then."""


class GatedAdapter:
    """Begins a motion only when nothing is wrong; one that runs is led to rest all the same.

    To go silent in the middle of a motion would stop the arm with a jerk, or leave it to whatever the driver
    does then. Derived classes say what is wrong, and publish.
    """

    _running = False

    def send(self, command: Command) -> None:
        """Hand over one tick's command.

        :raises AdapterError: If something is wrong; said at every tick, also while the arm comes to rest.
        """
        if not command.send or command.target is None:
            self._running = False
            self.rest()
            return
        problem = self.problem()
        moving = bool(command.linear.any() or command.angular.any())
        if problem and not (self._running and moving):
            self._running = False
            self.rest()
            raise AdapterError(problem)
        self.publish(command, command.target)
        self._running = True
        if problem:
            raise AdapterError(problem)

    def problem(self) -> str:
        """Return why the driver must not be commanded; empty where it may."""
        raise NotImplementedError

    def publish(self, command: Command, target: Pose) -> None:
        """Tell the driver.

        :param target: That of the command.
        """
        raise NotImplementedError

    def rest(self) -> None:
        """Take note that the driver hears nothing at this tick."""

    def close(self) -> None:
        """Let go of the driver; the arm stands still by then."""


def require(module: str, wanted_by: str) -> ModuleType:
    """Import generated interfaces that only some robots need.

    :param module: For example ``control_msgs.action``.
    :param wanted_by: Parameter and value that ask for it, for the error.
    :raises AdapterError: If it is not installed; the message says what to install.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        how = _SOURCES.get(package, f"install ros-$ROS_DISTRO-{package.replace('_', '-')}")
        raise AdapterError(f"{wanted_by} needs the package {package}, which is not there: {how}") from error
