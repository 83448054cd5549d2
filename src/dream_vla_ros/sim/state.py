"""What the tabletop is in at one moment: the arm's end effector and the blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dream_vla_ros.geometry import Pose


@dataclass(frozen=True)
class TableState:
    """The tabletop at one moment, in ``base_link``.

    :param time_s: Simulated time since the reset.
    :param end_effector: Pose of ``ee_link``.
    :param gripper: Measured opening, 1 = open, 0 = closed.
    :param blocks: Pose of each block's centre by its colour.
    """

    time_s: float
    end_effector: Pose
    gripper: float
    blocks: Mapping[str, Pose]
