"""What the controller expects of an adapter."""

from __future__ import annotations

from typing import Protocol

from dream_vla_ros.control import Command


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
